"""What becomes of a run whose process died: from a lease to a `Commit`, without I/O.

A run that has failed for good is lent once more with its `Loss`: the supervisor has no application, so whoever claims it
calls the failure's handlers and buries it (`Executor`). Its FAILURE is stored here, at once, for who waits.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

import msgspec

from celeriac import states
from celeriac.documents import Document
from celeriac.engines.base import Ack, Bury, Commit, Lease, Requeue
from celeriac.exceptions import DecodeError, TaskRevokedError
from celeriac.execution.outcomes import failure_record
from celeriac.messages import Malformed
from celeriac.past import Loss, story

__all__ = ["DEFAULT_POLICY", "Policy", "Verdict", "judge"]


class Verdict(msgspec.Struct, frozen=True):
    """The commit, and a line for the log."""

    commit: Commit
    line: str


class Policy(msgspec.Struct, frozen=True):
    """What a task wants done with its lost runs."""

    #: `reject_on_worker_lost`; False: it has failed.
    repeat: bool = True
    #: `retry_on_worker_lost`: it is retried, as by `retry()`, and counts there.
    retry: bool = False
    #: `acks_on_timeout=False`: also what passes its hard time limit is repeated.
    repeat_at_limit: bool = False


DEFAULT_POLICY = Policy()


class _End(Enum):
    NOT_BEGUN = auto()
    INTERRUPTED = auto()
    #: It counts and is repeated.
    REPEATED = auto()
    #: For good: the next owner calls the handlers.
    FAILED = auto()
    #: For good before, and now calling the handlers has taken a process down.
    GIVEN_UP = auto()


def judge(
    lease: Lease,
    *,
    running: bool,
    counted: bool,
    max_deliveries: int,
    max_interruptions: int,
    encode: Callable[[Document], bytes],
    ttl_s: float | None,
    cause: str,
    now: str,
    limit_s: float | None = None,
    terminated: bool = False,
    obituary: str = "",
    policy: Policy = DEFAULT_POLICY,
) -> Verdict:
    """Decide about a lease taken over from the dead.

    A run that was revoked and ended with its process (`terminated`) ends as REVOKED.
    A run whose process was killed because of it, at its hard time limit (`limit_s`), has failed. What had not begun goes
    back as if it had never been lent. What was running goes back and counts, until it has taken down `max_deliveries`
    processes. A run that we interrupted ourselves (not `counted`) goes back uncounted, `max_interruptions` times. An
    at-most-once run that had begun has failed.
    """
    message, past = lease.message, lease.past
    if isinstance(message, Malformed):
        unread = failure_record(message, lease.token, DecodeError(message.reason), encode, ttl_s, now)
        return Verdict(
            Commit(lease.token, Bury(message.reason, story(past)), unread),
            f"Buried a message of queue {lease.queue} that cannot be read: {message.reason}",
        )
    if terminated:
        revoked = failure_record(
            message, lease.token, TaskRevokedError("terminated"), encode, ttl_s, now, states.REVOKED
        )
        return Verdict(
            Commit(lease.token, Ack(), revoked), f"Task {message.task}[{message.id}] was revoked and its run ended"
        )
    end, reason = _decide(lease, running, counted, max_deliveries, max_interruptions, cause, limit_s, policy)
    name = f"{message.task}[{message.id}]"
    entry = f"{now} delivery {lease.deliveries}: {obituary or cause}"
    match end:
        case _End.NOT_BEGUN:
            return Verdict(Commit(lease.token, Requeue()), f"Task {name} was not running and goes back to its queue")
        case _End.INTERRUPTED:
            told = past.then(entry, interrupted=True)
            return Verdict(
                Commit(lease.token, Requeue(past=told)), f"Task {name} was interrupted and goes back to its queue"
            )
        case _End.REPEATED:
            return Verdict(
                Commit(lease.token, Requeue(counted=True, past=past.then(entry))),
                f"Task {name} will run again: {reason} (delivery {lease.deliveries} of {max_deliveries})",
            )
        case _End.FAILED:
            loss = Loss(reason, limit_s)
            settled = Requeue(past=past.then(entry, loss=loss))
            if policy.retry and limit_s is None:
                return Verdict(Commit(lease.token, settled), f"Task {name} is to be retried: {reason}")
            record = failure_record(message, lease.token, loss.error(), encode, ttl_s, now)
            return Verdict(Commit(lease.token, settled, record), f"Task {name} has failed: {reason}")
        case _End.GIVEN_UP:
            return Verdict(
                Commit(lease.token, Bury(reason, story(past.then(entry)))),
                f"Task {name} is buried, but its handlers did not end: {cause} ({reason})",
            )


def _decide(
    lease: Lease,
    running: bool,
    counted: bool,
    max_deliveries: int,
    max_interruptions: int,
    cause: str,
    limit_s: float | None,
    policy: Policy,
) -> tuple[_End, str]:
    """How the run has ended, and the reason where that is needed."""
    last = lease.deliveries >= max_deliveries
    interrupted_too_often = lease.past.interruptions >= max_interruptions
    if lease.past.loss is not None:
        if not running:
            return _End.NOT_BEGUN, ""
        if not counted and not interrupted_too_often:
            return _End.INTERRUPTED, ""
        return _End.GIVEN_UP if last or lease.begun else _End.REPEATED, lease.past.loss.reason
    if limit_s is not None:
        reason = f"it ran longer than its hard time limit of {limit_s:g} s"
        return _End.REPEATED if policy.repeat_at_limit and not last and not lease.begun else _End.FAILED, reason
    if lease.begun:
        return _End.FAILED, f"{cause} during an at-most-once run (acks_late=False), which is not repeated"
    if not running:
        return _End.NOT_BEGUN, ""
    if not counted:
        if not interrupted_too_often:
            return _End.INTERRUPTED, ""
        return _End.FAILED, (
            f"it was interrupted {lease.past.interruptions + 1} times before it could end; give it more time "
            "(worker_shutdown_grace), or raise max_interruptions"
        )
    if policy.retry or not policy.repeat:
        return _End.FAILED, cause
    if not last:
        return _End.REPEATED, cause
    return _End.FAILED, f"{cause} in each of {lease.deliveries} deliveries"
