"""How eager a courier is."""

from __future__ import annotations

import msgspec

from celeriac.retries import Backoff

__all__ = ["CourierOptions"]


class CourierOptions(msgspec.Struct, frozen=True):
    """The defaults are the measured ones (ARCHITECTURE.md)."""

    #: Unstarted work is held for at most about this long.
    ahead_s: float = 0.02
    #: ... and no more than this many.
    most_ahead: int = 512
    #: When no slot has begun anything for longer than this, what waits behind the runs is given back.
    overrun_s: float = 0.1
    #: Finished work waits for company at most this long while the slots are busy.
    flush_s: float = 0.01
    #: An idle child looks by itself this often, should a wake-up have been lost.
    look_s: float = 1.0
    #: What may run alone waits this long for the others to end, and is alone this long at most.
    alone_s: float = 10.0
    #: No pause is longer than what the work may wait when the store has come back.
    backoff: Backoff = msgspec.field(default_factory=lambda: Backoff(longest_s=1.0))
