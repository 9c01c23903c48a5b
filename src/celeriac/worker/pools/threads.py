"""The threads pool: a thread for each slot, in one child process."""

from __future__ import annotations

import threading

from celeriac.worker.logs import SLOT_THREAD
from celeriac.worker.pools.workplace import Workplace, run_slot
from celeriac.worker.processes import end_broken_process

__all__ = ["run_threads"]


def run_threads(place: Workplace, slots: int) -> None:
    """Run tasks in so many threads until the courier brings no more."""
    threads = [
        threading.Thread(target=_run_slot, args=(place, slot), name=f"{SLOT_THREAD}-{slot + 1}")
        for slot in range(slots)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _run_slot(place: Workplace, slot: int) -> None:
    try:
        run_slot(place, slot)
    except BaseException:
        end_broken_process("A slot")
