"""The dead letters of an application: what was buried, found by what is known of it, and back again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import msgspec

from celeriac import messages
from celeriac.engines.base import DeadLetter
from celeriac.exceptions import DecodeError, ResultError
from celeriac.messages import Body, Malformed, Message, Outgoing, encode_body
from celeriac.serialization import name_of

if TYPE_CHECKING:
    from celeriac.app import Celery

__all__ = ["DeadLetters", "Wanted", "edited", "fresh"]

_PAGE = 100


class Wanted(msgspec.Struct, frozen=True):
    """Which letters: all that is given must hold."""

    queue: str | None = None
    #: A name, or a pattern such as `mails.*`.
    task: str | None = None
    #: Part of the reason, in any case. That of a failed task begins with its exception: `ConnectionError('...')`.
    reason: str | None = None
    older_than_s: float | None = None
    newer_than_s: float | None = None

    def holds(self, letter: DeadLetter, now: float) -> bool:
        """Whether the letter is one of these."""
        age_s = now - letter.buried
        return (
            (self.queue is None or letter.queue == self.queue)
            and (self.task is None or fnmatchcase(letter.task or "", self.task))
            and (self.reason is None or self.reason.lower() in letter.reason.lower())
            and (self.older_than_s is None or age_s >= self.older_than_s)
            and (self.newer_than_s is None or age_s <= self.newer_than_s)
        )


class DeadLetters:
    """Messages that could not be read or whose task failed for good, newest first: `app.dead_letters`."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def list(self, queue: str | None = None, limit: int = 100) -> list[DeadLetter]:
        """The newest letters, of one queue or of all."""
        return self._app.broker.dead(queue, limit)

    def find(
        self,
        *,
        queue: str | None = None,
        task: str | None = None,
        reason: str | None = None,
        older_than_s: float | None = None,
        newer_than_s: float | None = None,
    ) -> Iterator[DeadLetter]:
        """All letters of which everything given holds, newest first; `task` may be a pattern such as `mails.*`.

        Read in pages, so there may be any number, and they may be sent again or dropped meanwhile.
        """
        wanted = Wanted(queue, task, reason, older_than_s, newer_than_s)
        last: DeadLetter | None = None
        while page := self._app.broker.dead(queue, _PAGE, last):
            last = page[-1]
            yield from [letter for letter in page if wanted.holds(letter, self._app.clock.time())]

    def __iter__(self) -> Iterator[DeadLetter]:
        return self.find()

    def get(self, letter_id: int) -> DeadLetter | None:
        """One letter."""
        return self._app.broker.find_dead(letter_id)

    def retry(
        self,
        letter: DeadLetter,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> bool:
        """Send the message again, as if for the first time and with what is given changed; False if it was gone.

        Of several who try at the same time one sends it. Its old result is forgotten, so that who asks for it waits for the
        new one. Arguments are written by the serializer they came by; a header of None is removed. Raises `DecodeError` for
        bytes that are no message, or whose arguments are to be changed and cannot be read.
        """
        message = messages.decode(letter.raw)
        if isinstance(message, Malformed):
            raise DecodeError(f"dead letter {letter.id} cannot be sent again, as it cannot be read: {message.reason}")
        message = fresh(message)
        if args is not None or kwargs is not None:
            message = edited(message, self._app.accept, args, kwargs)
        if headers:
            message = message.with_headers(**headers)
        if priority is not None:
            message = message.with_priority(priority)
        old = self._result(message.id)
        if not self._app.broker.exhume(letter.id, Outgoing(message, queue or letter.queue)):
            return False
        if old is not None:
            # Only the old one: a worker may have stored the new one by now.
            self._app.results.discard(message.id, old)
        return True

    def drop(self, letter_ids: Collection[int]) -> int:
        """Delete letters; returns how many there were."""
        return self._app.broker.drop_dead(letter_ids)

    @property
    def trimmed(self) -> int:
        """How many have been deleted so far because of `dead_letter_max_age` and `dead_letter_max_size`."""
        return self._app.broker.dead_trimmed()

    def _result(self, task_id: str) -> bytes | None:
        try:
            return self._app.results.get([task_id]).get(task_id)
        except ResultError:  # the application keeps none
            return None


def fresh(message: Message) -> Message:
    """The message as it was first sent, but for its time: not retried yet, due now, not expiring."""
    return message.with_headers(retries=0, eta=None, expires=None, celeriac_unknown_since=None)


def edited(
    message: Message, accept: frozenset[str], args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None
) -> Message:
    """The message with other arguments; what follows its task stays."""
    body = messages.decode_body(message, accept)
    changed = Body(
        body.args if args is None else list(args), body.kwargs if kwargs is None else dict(kwargs), body.embed
    )
    encoded = encode_body(changed, name_of(message.content_type), message.headers.get("compression"))
    return message.with_headers(argsrepr=None, kwargsrepr=None).with_body(encoded)
