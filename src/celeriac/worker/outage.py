"""Whether the store is away, said once for each change, and the pauses between attempts."""

from __future__ import annotations

import logging
import random
from threading import Event

from celeriac.retries import Backoff

__all__ = ["Outage"]

logger = logging.getLogger("celeriac.worker")


class Outage:
    """As one courier sees it. Thread-safe. A pause ends when `hurry` is set."""

    def __init__(self, backoff: Backoff, hurry: Event) -> None:
        self._backoff = backoff
        self._hurry = hurry
        #: Something has failed since the store last answered an exchange.
        self.lasts = False
        #: Pauses since then.
        self.attempts = 0

    def note(self, error: Exception) -> None:
        """An attempt has failed."""
        if not self.lasts:
            self.lasts = True
            logger.error("The broker cannot be used (trying again until it can; nothing is lost): %s", error)

    def over(self) -> None:
        """An exchange was answered."""
        self.attempts = 0
        if self.lasts:
            self.lasts = False
            logger.warning("The broker is back; going on")

    def pause(self) -> None:
        """Before the next attempt."""
        self.attempts += 1
        self._hurry.wait(self._backoff.delay_s(self.attempts, random.uniform))
