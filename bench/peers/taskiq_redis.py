"""taskiq on a Redis of its own."""

from __future__ import annotations

from bench.peers.base import PROJECT, Peer, Worker
from bench.peers.redis_server import redis_store

__all__ = ["PEER"]

_WORKER = ("taskiq", "worker", "taskiq_tasks:broker")


def _worker(processes: int, tasks: int, level: str) -> Worker:
    limits = ("--workers", str(processes), "--max-async-tasks", str(tasks))
    return Worker((*_WORKER, *limits, "--log-level", level))


PEER = Peer(
    name="taskiq",
    title="taskiq",
    settings="2 processes of 100 tasks at a time (4 of one for everyday tasks), stream broker, orjson, uvloop",
    guarantee="at least once: acknowledged after the result is saved, claimed by others after ten minutes",
    environment=PROJECT / ".peers" / "taskiq",
    packages=("taskiq", "taskiq-redis", "redis", "orjson", "uvloop"),
    tasks="taskiq_tasks",
    store=redis_store,
    rate=4400,
    worker=_worker(2, 100, "WARNING"),
    everyday=_worker(4, 1, "INFO"),
    naps=_worker(1, 1000, "WARNING"),
    together=True,
)
