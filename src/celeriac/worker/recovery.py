"""What becomes of a run whose process died: from a lease to a `Commit`, without I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from celeriac.documents import Document
from celeriac.engines.base import Bury, Commit, Lease, Requeue
from celeriac.exceptions import TimeLimitExceeded, WorkerLostError
from celeriac.execution.outcomes import failure_record
from celeriac.messages import Malformed

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The commit, and a line for the log."""

    commit: Commit
    line: str


def judge(
    lease: Lease,
    *,
    running: bool,
    counted: bool,
    max_deliveries: int,
    encode: Callable[[Document], bytes],
    ttl_s: float | None,
    cause: str,
    now: str,
    limit_s: float | None = None,
) -> Verdict:
    """Decide about a lease taken over from the dead.

    A run whose process was killed because of it, at its hard time limit (`limit_s`), ends as a failure.
    What had not begun goes back as if it had never been lent. What was running goes back and counts, until it has taken
    down `max_deliveries` processes; then it is buried. A run that we interrupted ourselves (not `counted`) goes back
    uncounted. An at-most-once run that had begun ends as a failure.
    """
    message = lease.message
    if isinstance(message, Malformed):
        return Verdict(
            Commit(lease.token, Bury(message.reason)), f"Buried a message that cannot be read: {message.reason}"
        )
    name = f"{message.task}[{message.id}]"
    if limit_s is not None:
        reason = f"it ran longer than its hard time limit of {limit_s:g} s"
        record = failure_record(message, lease.token, TimeLimitExceeded(limit_s), encode, ttl_s, now)
        return Verdict(Commit(lease.token, Bury(reason), record), f"Task {name} is buried: {reason}")
    if lease.begun:
        reason = f"{cause} during an at-most-once run (acks_late=False), which is not repeated"
        record = failure_record(message, lease.token, WorkerLostError(reason), encode, ttl_s, now)
        return Verdict(Commit(lease.token, Bury(reason), record), f"Task {name} failed: {reason}")
    if not running:
        return Verdict(Commit(lease.token, Requeue()), f"Task {name} was not running and goes back to its queue")
    if not counted:
        return Verdict(Commit(lease.token, Requeue()), f"Task {name} was interrupted and goes back to its queue")
    if lease.deliveries < max_deliveries:
        return Verdict(
            Commit(lease.token, Requeue(counted=True)),
            f"Task {name} will run again: {cause} (delivery {lease.deliveries} of {max_deliveries})",
        )
    reason = f"{cause} in each of {lease.deliveries} deliveries"
    record = failure_record(message, lease.token, WorkerLostError(reason), encode, ttl_s, now)
    return Verdict(Commit(lease.token, Bury(reason), record), f"Task {name} is buried: {reason}")
