"""The demo's two tasks: one that works hard and one that talks to a server which is not always in the mood.

Arguments and results are names and numbers. The picture itself stays where it is: a message should say what to do,
and the store should not have to carry megabytes.
"""

import os
from pathlib import Path
from typing import Any

from celeriac import Task
from examples.demo.app import HOME, ROOT, app
from examples.shared import mail, thumbnails

__all__ = ["path_of", "send_mail", "thumbnail"]

# 1025 is where mail catchers for developers (Mailpit, MailHog) listen; the demo sets the port of its own.
SMTP_PORT = int(os.environ.get("DEMO_SMTP_PORT", "1025"))
FIRST_RETRY_S = 0.5


def path_of(picture: Path, edge_px: int) -> Path:
    """Where the thumbnail goes: `sea.jpg` at 240 becomes `sea-240.jpg`."""
    return HOME / "thumbnails" / f"{picture.stem}-{edge_px}{picture.suffix}"


@app.task
def thumbnail(picture: str, edge_px: int) -> str:
    """Write a copy of `picture` that fits into a square of `edge_px`; return its path. Both are seen from the root."""
    source = ROOT / picture
    return str(thumbnails.make(source, path_of(source, edge_px), edge_px).relative_to(ROOT))


@app.task(bind=True, max_retries=10)
def send_mail(self: Task[..., Any], name: str, address: str) -> int:
    """Send the newsletter to one subscriber; return how often it had to be tried again."""
    # A worker may die between the server's "250 taken" and its own note that the task is done; then the task runs
    # again. The task id is the same in every run, and a mail program shows two mails of one Message-ID once.
    number = str(self.request.id)
    try:
        mail.send(SMTP_PORT, name, address, "Your pictures are ready", "all thumbnails have been made.", number)
    except mail.TryAgainLater as exc:
        raise self.retry(exc=exc, countdown=FIRST_RETRY_S * 2**self.request.retries) from exc
    return self.request.retries
