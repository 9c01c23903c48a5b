"""What the page shows and what its buttons do, without HTTP. Nothing here waits for a task to end."""

import asyncio
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from celeriac import uuid
from celeriac.documents import Document
from celeriac.insights import documents
from celeriac.states import READY_STATES
from examples.shared.subscribers import SUBSCRIBERS
from examples.studio import darkroom, tasks
from examples.studio.app import LOOK_EVERY_S, app

logger = logging.getLogger(__name__)
NOTHING = Document("", "PENDING")  # what the store tells of a task that waits


class Picture(NamedTuple):
    id: str
    name: str
    tasks: tuple[str, str]  # the thumbnails, and the contact sheet that follows them


class Studio:
    """Remembers which tasks were sent; in your application that is a table of the database. The store knows the rest."""

    def __init__(self, look_behind: Callable[["Studio"], dict[str, Any]]) -> None:
        self.pictures: dict[str, Picture] = {}
        self.mailing = ""  # the task that sends the mails
        self.mails: list[str] = []
        self.labels: dict[str, str] = {}  # all tasks we know of, and what people call them
        self.known: dict[str, Document] = {}  # what the store has told of them
        self.drawn: dict[str, Any] = {}  # what every open page shows
        self._look_behind = look_behind

    async def add(self, name: str, data: bytes) -> Picture:
        """Keep a picture and have its tasks run; raises `BrokenPicture` for what is none."""
        picture = Picture(uuid(), name, (uuid(), uuid()))
        # Files and the store may keep one waiting, so they get a thread, and the event loop goes on.
        await asyncio.to_thread(_keep_and_send, picture, data)
        self.pictures[picture.id] = picture
        self.labels |= zip(picture.tasks, (f"Thumbnails of {name}", f"Contact sheet of {name}"), strict=True)
        return picture

    async def drop(self, picture: Picture) -> None:
        """Forget a picture that is done; cancel one that is not, and if its task runs now, end it."""
        first, last = map(self.state, picture.tasks)
        if last in READY_STATES or first in {"FAILURE", "REVOKED"}:
            self.pictures.pop(picture.id, None)
            self._forget(picture.tasks)
            await asyncio.to_thread(shutil.rmtree, tasks.file_of(picture.id, ""), ignore_errors=True)
        else:
            await asyncio.to_thread(app.control.revoke, picture.tasks, terminate=True)

    async def send_newsletter(self) -> None:
        """One message, sent by `adelay`: as `delay`, but the event loop goes on. A worker makes 500 of it."""
        sent = await tasks.start_mailing.adelay(uuid()[:8], [*SUBSCRIBERS])
        self._forget([self.mailing, *self.mails])
        self.mailing, self.mails = sent.id, []
        self.labels[sent.id] = "Newsletter"

    async def retry_failed_mails(self) -> None:
        """Have those that failed sent once more."""
        await tasks.retry_failed_mails.adelay([task_id for task_id in self.mails if self.state(task_id) == "FAILURE"])

    async def watch(self) -> None:
        """Ask the store for all pages together, a few times a second: one question for all tasks, however many."""
        while True:
            # What ended well stays so and is not asked for again. What failed may be sent again, so it is.
            asked = [task_id for task_id in self.labels if self.state(task_id) not in {"SUCCESS", "REVOKED"}]
            try:
                self._take(asked, await asyncio.to_thread(documents, app, asked))
                self.drawn = self._draw() | await asyncio.to_thread(self._look_behind, self)
            except Exception as exc:  # a loop that ends is worse than any error; and the store may come back
                if self.drawn != (trouble := {"trouble": str(exc)}):
                    logger.warning("cannot ask the store: %r", exc)
                    self.drawn = trouble
            await asyncio.sleep(LOOK_EVERY_S)

    def state(self, task_id: str) -> str:
        """PENDING, STARTED, PROGRESS, RETRY, SUCCESS, FAILURE or REVOKED."""
        return self.known.get(task_id, NOTHING).status

    def _forget(self, task_ids: Iterable[str]) -> None:
        for task_id in task_ids:
            self.labels.pop(task_id, None)

    def _take(self, asked: list[str], found: dict[str, Document]) -> None:
        self.known |= {task_id: found.get(task_id, NOTHING) for task_id in asked}
        if not self.mails and self.state(self.mailing) == "SUCCESS":
            self.mails = self.known[self.mailing].result
            self.labels |= {task_id: f"Mail to {to.name}" for task_id, to in zip(self.mails, SUBSCRIBERS, strict=True)}

    def _draw(self) -> dict[str, Any]:
        pictures = [{**one._asdict(), "tasks": [*map(self._told, one.tasks)]} for one in self.pictures.values()]
        states = Counter(map(self.state, self.mails))
        begun = {"begun": bool(self.mailing), "state": self.state(self.mailing), "of": len(SUBSCRIBERS)}
        return {"pictures": pictures, "mailing": begun | states}

    def _told(self, task_id: str) -> dict[str, Any]:
        known = self.known.get(task_id, NOTHING)
        return {"state": known.status, "result": known.result}


def _keep_and_send(picture: Picture, data: bytes) -> None:
    darkroom.check(data)
    original = tasks.file_of(picture.id, "original")
    original.parent.mkdir(parents=True)
    original.write_bytes(data)
    # The contact sheet is linked: its message is sent in the same step that ends the thumbnails, so never without them.
    sheet = tasks.make_contact_sheet.si(picture.id).set(task_id=picture.tasks[1])
    tasks.make_thumbnails.apply_async((picture.id,), task_id=picture.tasks[0], link=sheet)
