"""What became of a message's earlier runs that could not say so themselves, as their process was gone.

Engines keep a `Past` beside the message, without reading it, and drop it when the message ends. A message that has none,
as nearly all have, costs nothing.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from celeriac.exceptions import TimeLimitExceeded, WorkerLostError

__all__ = ["NO_PAST", "Loss", "Past", "story"]

#: The last so many entries are kept, each up to so many characters.
_MOST_ENTRIES = 10
_LONGEST_ENTRY = 4000


class Loss(msgspec.Struct, frozen=True, gc=False):
    """How a run has ended for good of which no process is left to call the handlers: whoever claims it next does.

    With `limit_s`, because it ran longer than its hard time limit; else because its worker was lost.
    """

    reason: str
    limit_s: float | None = None

    def error(self) -> TimeLimitExceeded | WorkerLostError:
        """The exception that the run has failed with."""
        return TimeLimitExceeded(self.limit_s) if self.limit_s is not None else WorkerLostError(self.reason)


class Past(msgspec.Struct, frozen=True, gc=False):
    """`history` has an entry for each process that ended under a run of the message, the oldest first."""

    #: Runs that were stopped for no fault of theirs.
    interruptions: int = 0
    history: tuple[str, ...] = ()
    loss: Loss | None = None

    def then(self, entry: str, *, interrupted: bool = False, loss: Loss | None = None) -> Past:
        """With what has happened now."""
        if len(entry) > _LONGEST_ENTRY:
            entry = f"{entry[:_LONGEST_ENTRY]} ..."
        kept = (*self.history, _writable(entry))[-_MOST_ENTRIES:]
        return replace(self, interruptions=self.interruptions + interrupted, history=kept, loss=loss or self.loss)

    def encode(self) -> str:
        """As engines keep it."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str | bytes | None) -> Past:
        """What an engine has kept. What cannot be read is no reason to lose the message: it then has no past."""
        if not text:
            return NO_PAST
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.MsgspecError, ValueError):
            return NO_PAST


NO_PAST = Past()


def story(past: Past, detail: str = "") -> str:
    """The history and what else there is to say, for the detail of a dead letter."""
    return "\n\n".join(part for part in (*past.history, detail) if part)


def _writable(text: str) -> str:
    """Half characters, as undecodable file names have, are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
