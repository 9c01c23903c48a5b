"""What the workers do. Arguments are ids and names; a message says what to do, pictures stay in their folder."""

import time
from pathlib import Path
from typing import Any

from celeriac import Task
from examples.shared import mail
from examples.shared.thumbnails import EDGES_PX, save, shrunk
from examples.studio import darkroom
from examples.studio.app import HOME, PACE_S, SMTP_PORT, app


def file_of(picture: str, name: str) -> Path:
    """Where a picture's original, its thumbnails and its contact sheet lie."""
    return HOME / "pictures" / picture / name


def report(task: Task[..., Any], done: int, step: str) -> None:
    """Tell whoever asks for the task's result how far it is. The progress bar is made of this."""
    task.update_state(state="PROGRESS", meta={"done": done, "step": step, "hostname": task.request.hostname})
    time.sleep(PACE_S)


# An exception in `throws` is an answer, not an accident: no traceback in the log, nothing in the dead letters.
@app.task(bind=True, throws=(darkroom.BrokenPicture,))
def make_thumbnails(self: Task[..., Any], picture: str) -> str | None:
    """Four sizes. If the worker is killed between two of them, another one makes all four again: no harm done."""
    original = darkroom.develop(file_of(picture, "original"))
    for done, edge_px in enumerate(EDGES_PX):
        report(self, done, f"{edge_px} px")
        save(shrunk(original, edge_px), file_of(picture, f"{edge_px}.webp"))
    return self.request.hostname


@app.task(bind=True)
def make_contact_sheet(self: Task[..., Any], picture: str) -> str | None:
    """The picture in six looks on one sheet. Linked to `make_thumbnails`, whose largest one it is made of."""
    sheet = darkroom.ContactSheet(file_of(picture, f"{EDGES_PX[-1]}.webp"))
    for done, look in enumerate(darkroom.LOOKS, start=len(EDGES_PX)):
        report(self, done, f"{look} print")
        sheet.add(look)
    save(sheet.image, file_of(picture, "sheet.webp"))
    return self.request.hostname


# Not to be repeated: were its worker killed after it had sent them, all 500 would be sent twice. So: at most once.
@app.task(acks_late=False)
def start_mailing(mailing: str, readers: list[tuple[str, str]]) -> list[str]:
    """One task becomes 500, at the cost of a few. The web application sends one message, and need not wait for more."""
    return [result.id for result in send_mail.delay_many([(mailing, name, address) for name, address in readers])]


# `max_retries=3` are four tries in all. When the last fails the task fails, and its message goes to the dead letters.
@app.task(bind=True, max_retries=3)
def send_mail(self: Task[..., Any], mailing: str, name: str, address: str) -> str | None:
    """One mail. The task's id is the same in every try, so a mail program shows a mail that came twice once."""
    try:
        mail.send(SMTP_PORT, name, address, "New pictures", "come and see.", f"{self.request.id}", f"news+{mailing}")
    except mail.TryAgainLater as refusal:
        # The retry waits in the store, not in the worker, which does the next mail meanwhile.
        raise self.retry(exc=refusal, countdown=0.5 * 2**self.request.retries) from refusal
    return self.request.hostname


@app.task
def retry_failed_mails(task_ids: list[str]) -> None:
    """Send these again from the dead letters. A task as well: whatever takes longer than a blink is one."""
    for letter in app.dead_letters.find(task=send_mail.name):
        if letter.task_id in task_ids:
            app.dead_letters.retry(letter)
