"""The demo's two tasks: one that works hard and one that talks to a server which is not always in the mood.

Arguments and results are names and numbers. The picture itself stays where it is: a message should say what to do,
and the store should not have to carry megabytes.
"""

import os
import smtplib
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

from celeriac import Task
from examples.demo import thumbnails
from examples.demo.app import HOME, ROOT, app

__all__ = ["send_mail", "thumbnail"]

# 1025 is where mail catchers for developers (Mailpit, MailHog) listen; the demo sets the port of its own.
SMTP_HOST, SMTP_PORT = "127.0.0.1", int(os.environ.get("DEMO_SMTP_PORT", "1025"))
FIRST_RETRY_S = 0.5


@app.task
def thumbnail(picture: str, edge_px: int) -> str:
    """Write a copy of `picture` that fits into a square of `edge_px`; return its path. Both are seen from the root."""
    target = thumbnails.make(ROOT / picture, HOME / "thumbnails", edge_px)
    return str(target.relative_to(ROOT))


@app.task(bind=True, max_retries=10)
def send_mail(self: Task[..., Any], name: str, address: str) -> int:
    """Send the newsletter to one subscriber; return how often it had to be tried again."""
    message = EmailMessage()
    message["From"] = Address("celeriac demo", addr_spec="news@example.org")
    message["To"] = Address(name, addr_spec=address)
    message["Subject"] = "Your pictures are ready"
    # A worker may die between the server's "250 taken" and its own note that the task is done; then the task runs
    # again. The task id is the same in every run, and a mail program shows two mails of one Message-ID once.
    message["Message-ID"] = f"<{self.request.id}@example.org>"
    message.set_content(f"Dear {name},\n\nall thumbnails have been made.\n")
    try:
        with smtplib.SMTP(SMTP_HOST, SMTP_PORT, local_hostname="localhost", timeout=10) as server:
            server.send_message(message)
    except smtplib.SMTPResponseException as exc:
        # 4xx means "not now" and is worth another try; 5xx means "never", and trying again would only annoy.
        if not 400 <= exc.smtp_code < 500:
            raise
        raise self.retry(exc=exc, countdown=FIRST_RETRY_S * 2**self.request.retries) from exc
    return self.request.retries
