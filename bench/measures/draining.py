"""How fast a worker runs what waits in its queues, and what that costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.measures.base import Figure, Measure, Scale
from bench.processes import cpu_s, tree
from bench.tallies import watch

if TYPE_CHECKING:
    from bench.peers.base import Worker
    from bench.session import Session
    from bench.tallies import Watched

__all__ = ["MEASURES"]

_NAP_S = 0.1
_AT_A_TIME = 1000


def drain(session: Session, scale: Scale) -> dict[str, float]:
    watched = _drained(session, session.peer.worker, "noop", scale.tasks(session.peer.rate))
    figures = {"drain": watched.tasks_per_s}
    if watched.cpu_s_per_1000 is not None:
        figures["cpu"] = watched.cpu_s_per_1000
    return figures


def drain_ignored(session: Session, scale: Scale) -> dict[str, float]:
    watched = _drained(session, session.peer.worker, "quiet", scale.tasks(session.peer.rate), check=False)
    return {"drain ignored": watched.tasks_per_s}


def everyday(session: Session, scale: Scale) -> dict[str, float]:
    peer = session.peer
    assert peer.everyday is not None
    tasks = min(scale.everyday_tasks, scale.tasks(peer.rate))
    return {"everyday": _drained(session, peer.everyday, "everyday", tasks - tasks % 4).tasks_per_s}


def naps(session: Session, scale: Scale) -> dict[str, float]:
    """From the first one's begin to the last one's end: ideally a tenth of a second for each thousand."""
    peer = session.peer
    assert peer.naps is not None
    sent = session.run("backlog", "nap", scale.naps)
    with session.worker(peer.naps):
        begins_s = session.tally().span(scale.naps)
        session.run("check", tell=sent)
    return {"naps": (begins_s + _NAP_S) / (scale.naps / _AT_A_TIME * _NAP_S)}


def _drained(session: Session, worker: Worker, name: str, count: int, *, check: bool = True) -> Watched:
    sent = session.run("backlog", name, count)
    with session.worker(worker) as pids:
        server = session.redis_pids
        watched = watch(session.tally().read, sent["count"], lambda: cpu_s([*tree(pids), *server]))
        if check:
            session.run("check", tell=sent)
    return watched


_HOW = (
    "The backlog is there before the worker starts. A shared file says how many tasks have begun, the same way for every "
    "peer; the clock runs from the first look after 15 % of them until the last has begun, and a sample of the results is "
    "then fetched and compared"
)

MEASURES = (
    Measure(
        "drain",
        (
            Figure("drain", "draining no-op tasks, results stored", "tasks/s", more_is_better=True),
            Figure("cpu", "CPU per 1,000 of these, worker and Redis", "s"),
        ),
        drain,
        "2 children, as many tasks as the peer runs in about {drain_s:g} s. " + _HOW,
    ),
    Measure(
        "drain-ignored",
        (Figure("drain ignored", "draining no-op tasks, results ignored", "tasks/s", more_is_better=True),),
        drain_ignored,
        "the same, without results",
    ),
    Measure(
        "everyday",
        (Figure("everyday", "draining everyday tasks, 4 at a time", "tasks/s", more_is_better=True),),
        everyday,
        "up to {everyday_tasks:,} tasks, each of which waits 1 ms and computes for 0.2 ms; arguments of 1 kB, four queues "
        "where the worker can serve several, results stored, log level info",
        fits=lambda peer: peer.everyday is not None,
    ),
    Measure(
        "naps",
        (Figure("naps", "coroutines that sleep, 1,000 at a time", "times the ideal"),),
        naps,
        "{naps:,} coroutines of 100 ms, from the first one's begin to the last one's end, against the "
        "least that this can take",
        fits=lambda peer: peer.naps is not None,
    ),
)
