"""What every pool does when it starts."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

from celeriac.crashpoints import reach
from celeriac.engines.base import Broker
from celeriac.exceptions import OperationalError
from celeriac.retries import Backoff
from celeriac.worker import logs
from celeriac.worker.plan import Plan

__all__ = ["purge_first", "register_patiently", "say"]

logger = logging.getLogger("celeriac.worker")

#: A worker that cannot begin must end as soon as it is told to.
_LOOK_S = 0.1


def register_patiently(broker: Broker, plan: Plan, give_up: Callable[[], bool]) -> None:
    """Make the node known, waiting for a broker that is away."""
    backoff, attempt = Backoff(longest_s=1.0), 0
    while not give_up():
        try:
            warnings = broker.check()
            reach("registering")
            broker.register(plan.node())
            reach("registered")
            for warning in warnings:
                logger.warning("%s", warning)
            return
        except OperationalError as error:
            if attempt == 0:
                logger.error("The broker cannot be used (trying again until it can): %s", error)
            attempt += 1
        again_at = time.monotonic() + backoff.delay_s(attempt, lambda _low, high: high)
        while not give_up() and (left_s := again_at - time.monotonic()) > 0:
            time.sleep(min(left_s, _LOOK_S))


def purge_first(broker: Broker, plan: Plan) -> None:
    """For `--purge`: delete what waits in this worker's queues."""
    if plan.wishes.purge:
        count = sum(broker.purge(queue) for queue in plan.queues)
        say(f"celeriac: deleted {count} {'message' if count == 1 else 'messages'} from {', '.join(plan.queues)}")


def say(text: str) -> None:
    """Speak to the person at the terminal, whatever the log level; if it has gone, to no one."""
    try:
        print(text, file=sys.__stderr__, flush=True)
    except OSError as error:
        if sys.__stderr__ is not None:
            logs.let_go_of(sys.__stderr__, error)
