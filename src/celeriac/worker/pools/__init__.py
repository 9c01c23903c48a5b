"""The pools: where the slots of a worker are.

prefork   as many child processes as slots, each with one in its main thread
threads   one child process, a thread for each slot
asyncio   one child process, one event loop; a slot is a coroutine
solo      one slot in the worker's own main thread, without other processes
"""

from __future__ import annotations

import msgspec

__all__ = ["POOLS", "Pool"]


class Pool(msgspec.Struct, frozen=True):
    """How a pool's slots are shared out to child processes, and what these are called in the log."""

    process_name: str
    one_child: bool

    def children(self, concurrency: int) -> list[str]:
        """The names of the processes that run tasks."""
        if self.one_child:
            return [self.process_name]
        return [f"{self.process_name}-{number}" for number in range(1, concurrency + 1)]

    def slots(self, concurrency: int) -> int:
        """How many slots each of them has."""
        return concurrency if self.one_child else 1


POOLS = {
    "prefork": Pool("ForkPoolWorker", one_child=False),
    "threads": Pool("ThreadPool", one_child=True),
    "asyncio": Pool("AsyncioPool", one_child=True),
    "solo": Pool("MainProcess", one_child=True),
}
