"""Named points between two steps of a task's life, at which a test has the process that gets there kill itself.

    CELERIAC_CRASH_AT=claimed                 at the first claim
    CELERIAC_CRASH_AT=redis-sent:12           at the twelfth time that one process gets there
    CELERIAC_CRASH_ONCE=/tmp/mark             only the process that makes this file dies, so those that replace it live

Death is SIGKILL, as by the kernel when memory runs out: no handler runs, no buffer is flushed. Without the variable, which
is read once, a point is a call of a function that does nothing. docs/guarantees.md says what follows a death at each.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping

__all__ = ["POINTS", "killer", "reach"]

#: Every point, in the order of a task's life, and the moment it stands for.
POINTS: Mapping[str, str] = {
    "publishing": "a producer is about to send a message",
    "published": "the store has taken the message; `delay` has not returned",
    "claimed": "a child has an answer with leases, and has handed none of them to a slot",
    "taken": "a slot has taken a lease, which the board does not show yet",
    "shown": "the board shows the lease as running; nothing of the run has begun",
    "marking": "an at-most-once run is about to be marked as begun",
    "marked": "an at-most-once run is marked as begun; its function has not been called",
    "called": "the task's function is about to be called",
    "returned": "the task's function has returned; what follows from it is not collected",
    "ran": "the run's commit is made; the board still shows it",
    "unshown": "the board shows the slot as free; the commit is not queued",
    "settling": "a child is about to send commits",
    "stored": "results lie on another store: they are stored, the commits are not sent",
    "settled": "the commits are applied; the child has not used the answer",
    "returning": "a child that stops is about to give back what has not begun",
    "forking": "the template is about to fork a child",
    "forked": "the template has forked a child and not said so",
    "begun": "a child has been forked and has claimed nothing",
    "registering": "a worker is about to make itself known",
    "registered": "a worker is known and has started nothing",
    "renewing": "a supervisor is about to renew its lease",
    "renewed": "the lease is renewed",
    "recovering": "a supervisor is about to take over from dead nodes",
    "recovered": "it has taken over and settled nothing",
    "seizing": "a supervisor is about to take over what a dead child held",
    "seized": "it has taken over and settled nothing",
    "judging": "a supervisor is about to settle what it has taken over",
    "judged": "that is settled; the supervisor has not used the answer",
    "leaving": "a worker that stops has settled everything and is still known",
    "sqlite-promoted": "due messages are moved to their queue, in a transaction that is not committed",
    "sqlite-committing": "a transaction is about to be committed",
    "sqlite-committed": "a transaction is committed; nobody has been rung",
    "redis-sending": "a script is about to be sent",
    "redis-sent": "a script is sent; its answer has not come",
    "redis-answered": "a script's answer has come and is not used",
}


def _nothing(point: str) -> None:
    """This process is here."""


def killer(order: str, once: str | None) -> Callable[[str], None]:
    """What `reach` does under CELERIAC_CRASH_AT and CELERIAC_CRASH_ONCE; raises `ValueError` for a point there is not."""
    name, _, nth = order.partition(":")
    if name not in POINTS:
        raise ValueError(f"CELERIAC_CRASH_AT={order}: there is no point {name!r}; there are {', '.join(POINTS)}")
    reached: Counter[str] = Counter()

    def reach_and_die(point: str) -> None:
        if point != name:
            return
        reached[point] += 1
        if reached[point] >= int(nth or 1) and (once is None or _is_first(once)):
            os.kill(os.getpid(), signal.SIGKILL)

    return reach_and_die


def _is_first(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True


#: Say that this process is here.
reach: Callable[[str], None] = _nothing
if _order := os.environ.get("CELERIAC_CRASH_AT"):
    reach = killer(_order, os.environ.get("CELERIAC_CRASH_ONCE"))
