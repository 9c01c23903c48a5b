"""How long to wait before trying again, and whether to.

Two policies, both values: `Backoff` for our own reconnecting (for ever, capped, jittered), `RetryPolicy` for publishing
(Celery's `task_publish_retry_policy`: a few tries, growing by a fixed step). Neither sleeps; the caller does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from celeriac.exceptions import ConfigError

__all__ = ["Backoff", "RetryPolicy", "exponential_backoff_s"]


class Backoff(msgspec.Struct, frozen=True):
    """Delays that grow by `factor` from `first_s` to `longest_s`, with full jitter.

    Jitter spreads clients that failed together, so that a store that comes back is not met by all of them at once
    ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """

    first_s: float = 0.05
    factor: float = 2.0
    longest_s: float = 5.0

    def delay_s(self, attempt: int, uniform: Callable[[float, float], float]) -> float:
        """The wait before `attempt` (1 is the first retry)."""
        # The exponent is capped before the power: attempt 5,000 of a worker that retries for ever must not overflow.
        grown = self.first_s * self.factor ** min(attempt - 1, 64)
        return uniform(0.0, min(grown, self.longest_s))


class RetryPolicy(msgspec.Struct, frozen=True):
    """Celery's policy for repeating a publish: delays of `interval_start_s`, then `interval_step_s` more each time.

    `max_retries` None means for ever (the caller's deadline still ends it).
    """

    max_retries: int | None = 3
    interval_start_s: float = 0.0
    interval_step_s: float = 0.2
    interval_max_s: float = 1.0

    @classmethod
    def from_celery(cls, policy: Mapping[str, Any]) -> RetryPolicy:
        """Read Celery's dictionary; raises `ConfigError` on a key or value that has no meaning."""
        names = {
            "max_retries": "max_retries",
            "interval_start": "interval_start_s",
            "interval_step": "interval_step_s",
            "interval_max": "interval_max_s",
        }
        unknown = set(policy) - set(names)
        if unknown:
            raise ConfigError(f"retry policy has no {', '.join(sorted(unknown))}; it knows {', '.join(names)}")
        for key, value in policy.items():
            if value is None and key == "max_retries":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise ConfigError(f"retry policy: {key} must be a number of at least 0, not {value!r}")
        return cls(**{names[key]: value for key, value in policy.items()})

    def delay_s(self, attempt: int) -> float | None:
        """The wait before retry number `attempt` (1 is the first), or None to give up."""
        if self.max_retries is not None and attempt > self.max_retries:
            return None
        return min(self.interval_start_s + self.interval_step_s * (attempt - 1), self.interval_max_s)


def exponential_backoff_s(
    factor: float, retries: int, maximum: float, full_jitter: bool, randrange: Callable[[int], int]
) -> float:
    """The wait of `retry_backoff`, as Celery reckons it: `factor`, doubled for each retry so far, at most `maximum`.

    With `full_jitter` a whole number from 0 to that; `randrange` is `random.randrange`, or a test's own.
    """
    # The exponent is capped: the power of a task that retries for ever would not fit into a float.
    countdown = min(maximum, factor * 2.0 ** min(retries, 1000))
    if full_jitter and countdown > 0:
        countdown = randrange(int(countdown) + 1)
    return max(0.0, countdown)
