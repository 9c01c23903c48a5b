"""The states of a task, as stored and as `AsyncResult.state` shows them.

    PENDING ──▶ STARTED ──▶ SUCCESS
       ▲           │  ├───▶ FAILURE
       │           ▼  └───▶ REVOKED   (expired, or revoked)
       └──────── RETRY

PENDING means that nothing is stored yet: the task waits, or the id is unknown. IGNORED and REJECTED are how a run ended
that stored nothing; they are seen by handlers and signals only. A task may name states of its own with
`update_state`; they count as unfinished. The names are Celery's (celery/states.py documents them as public).
"""

from __future__ import annotations

__all__ = [
    "ALL_STATES",
    "EXCEPTION_STATES",
    "FAILURE",
    "IGNORED",
    "PENDING",
    "PROPAGATE_STATES",
    "READY_STATES",
    "RECEIVED",
    "REJECTED",
    "RETRY",
    "REVOKED",
    "STARTED",
    "SUCCESS",
    "UNREADY_STATES",
]

PENDING = "PENDING"
RECEIVED = "RECEIVED"
STARTED = "STARTED"
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
RETRY = "RETRY"
REVOKED = "REVOKED"
REJECTED = "REJECTED"
IGNORED = "IGNORED"

#: A task in one of these has ended; no other state follows.
READY_STATES = frozenset({SUCCESS, FAILURE, REVOKED})
UNREADY_STATES = frozenset({PENDING, RECEIVED, STARTED, REJECTED, RETRY})
#: What `AsyncResult.state` may be, states of a task's own apart.
ALL_STATES = READY_STATES | UNREADY_STATES - {REJECTED}
#: The stored result is an exception.
EXCEPTION_STATES = frozenset({FAILURE, RETRY, REVOKED})
#: `AsyncResult.get()` raises what is stored.
PROPAGATE_STATES = frozenset({FAILURE, REVOKED})
