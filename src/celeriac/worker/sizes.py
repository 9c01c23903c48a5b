"""How much a child keeps in memory of what could grow: one mapping, from what it is to how many there are.

Each has a bound of its own (docs/performance.md lists them). What is not here is as large as the number of slots, or of the
application's tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celeriac.app import Celery
    from celeriac.worker.pools.workplace import Workplace

__all__ = ["SAY_EVERY_S", "say_sizes", "sizes"]

logger = logging.getLogger("celeriac.worker")

SAY_EVERY_S = 60.0


def sizes(app: Celery, place: Workplace) -> dict[str, int]:
    """What there is now. Asks no store, and may be called from any thread."""
    return {**place.courier.sizes(), **place.executor.sizes(), **app.broker.sizes(), **app.results.sizes()}


def say_sizes(found: Mapping[str, int]) -> None:
    """Tell whoever follows a process for long (`-l debug`)."""
    logger.debug("Kept in memory: %s", ", ".join(f"{count} {what}" for what, count in found.items()))
