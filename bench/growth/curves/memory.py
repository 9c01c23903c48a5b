"""What is kept: bytes in the store, and a worker's memory after many tasks of all kinds."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import time
from collections.abc import Iterator

from bench.growth.curve import Curve, Panel, Row, Scale
from bench.growth.place import STORES, Place, new_place
from bench.processes import pss_bytes
from celeriac import states

__all__ = ["CURVES"]

_FAR_S = 86_400
_ROUNDS = 20


def kept(scale: Scale) -> Iterator[Row]:
    for store, count in itertools.product(STORES, scale.many):
        with new_place(store) as place, place.worker():
            queue = place.app.conf.task_default_queue
            found = {}
            before = _bytes(place)
            with place.paused(queue):
                last = place.send("nothing", count)
                found["queued"] = _bytes(place) - before
            last.get(timeout=300)
            _until_done(place)
            found["finished"] = _bytes(place) - before
            before = _bytes(place)
            place.send("nothing", count, countdown=_FAR_S)
            found["delayed"] = _bytes(place) - before
            for kind, grown in found.items():
                yield {"series": f"{STORES[store]}, {kind}", "x": count, "bytes": grown / count}


def _bytes(place: Place) -> int:
    """What the store holds, without what it could use again."""
    if place.url.startswith("redis"):
        return int(place.redis_info("memory")["used_memory"])
    with contextlib.closing(sqlite3.connect(place.folder / "store" / "growth.db")) as file:
        (pages, free, size) = (file.execute(f"PRAGMA {name}").fetchone()[0] for name in _PAGES)
    return int((pages - free) * size)


_PAGES = ("page_count", "freelist_count", "page_size")


def soak(scale: Scale) -> Iterator[Row]:
    for store in STORES:
        with new_place(store) as place, place.worker() as worker:
            for number in range(_ROUNDS):
                _one_of_everything(place, scale.soak // _ROUNDS)
                found = pss_bytes([worker.pid])
                if found is not None:
                    yield {
                        "series": f"{STORES[store]}, worker",
                        "x": (number + 1) * scale.soak // _ROUNDS,
                        "MiB": found / 2**20,
                    }


def _one_of_everything(place: Place, count: int) -> None:
    """Results, retries, failures, and tasks that are revoked before they can run; until all are done."""
    plain, retried, failed = (list(place.fill(task, zip(range(share)))) for task, share in _shares(count))
    revoked = list(place.fill("nothing", zip(range(count // 20)), countdown=_FAR_S))
    place.app.control.revoke([handle.id for handle in revoked])
    for handles in (plain, retried, failed):
        handles[-1].get(timeout=300, propagate=False)
    _until_done(place)
    expected = [(plain, states.SUCCESS), (retried, states.SUCCESS), (failed, states.FAILURE), (revoked, states.REVOKED)]
    for handles, state in expected:
        assert handles[len(handles) // 2].state == state


def _shares(count: int) -> list[tuple[str, int]]:
    return [("nothing", count * 75 // 100), ("try_again", count * 10 // 100), ("fail", count * 10 // 100)]


def _until_done(place: Place) -> None:
    while any(queue.ready or queue.leased for queue in place.app.broker.queues()):
        time.sleep(0.05)


CURVES = (
    Curve(
        "kept",
        "Bytes in the store",
        "tasks in it",
        "memory of Redis, and used pages of the SQLite file, for no-op tasks with one number as argument",
        (Panel("bytes", "bytes for each"),),
        kept,
    ),
    Curve(
        "soak",
        "A worker's memory",
        "tasks it has run",
        "{soak:,} tasks: three quarters return, a tenth is retried, a tenth fails, a twentieth is revoked; "
        "PSS of all its processes",
        (Panel("MiB", "memory of a worker with two children, MiB"),),
        soak,
        log_x=False,
    ),
)
