"""The dead letters of an application: what was buried, and back again."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from celeriac import messages
from celeriac.engines.base import DeadLetter
from celeriac.exceptions import DecodeError
from celeriac.messages import Malformed, Message, Outgoing

if TYPE_CHECKING:
    from celeriac.app import Celery

__all__ = ["DeadLetters", "fresh"]


class DeadLetters:
    """Messages that could not be read or whose task failed for good, newest first."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def list(self, queue: str | None = None, limit: int = 100) -> list[DeadLetter]:
        """The newest letters, of one queue or of all."""
        return self._app.broker.dead(queue, limit)

    def get(self, letter_id: int) -> DeadLetter | None:
        """One letter."""
        return self._app.broker.find_dead(letter_id)

    def retry(self, letter: DeadLetter) -> bool:
        """Send the message again, as if for the first time; False if the letter was gone.

        Its old result is forgotten, so that who asks for it waits for the new one. Raises `DecodeError` for bytes that
        are no message.
        """
        message = messages.decode(letter.raw)
        if isinstance(message, Malformed):
            raise DecodeError(f"dead letter {letter.id} cannot be sent again, as it cannot be read: {message.reason}")
        if self._app.broker.find_dead(letter.id) is None:
            return False
        # Before it is sent: a worker may have the new result stored by the time that sending returns.
        self._app.results.forget([message.id])
        return self._app.broker.exhume(letter.id, Outgoing(fresh(message), letter.queue))

    def drop(self, letter_ids: Collection[int]) -> int:
        """Delete letters; returns how many there were."""
        return self._app.broker.drop_dead(letter_ids)


def fresh(message: Message) -> Message:
    """The message as it was first sent, but for its time: not retried yet, due now, not expiring."""
    return message.with_headers(retries=0, eta=None, expires=None, celeriac_unknown_since=None)
