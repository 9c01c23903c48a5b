"""Taking over from dead workers without being one: what `celeriac recover` does."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from celeriac.app import Celery
from celeriac.engines.base import Broker, Bury, NodeState, Requeue
from celeriac.worker.leases import LeaseService
from celeriac.worker.names import node_name
from celeriac.worker.plan import Wishes, make_plan
from celeriac.worker.recovery import Verdict

__all__ = ["Recovery", "take_over"]

_LOOK_S = 0.5


class Recovery(msgspec.Struct, frozen=True):
    """What was found and what became of it. `left` are those whose work could not be taken over in time."""

    dead: tuple[NodeState, ...]
    left: tuple[NodeState, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def buried(self) -> int:
        """How many of their messages lie in the dead letters now."""
        return sum(isinstance(verdict.commit.settle, Bury) for verdict in self.verdicts)

    @property
    def failed(self) -> int:
        """How many have failed and are told so; they wait in their queues for a worker that calls their handlers."""
        settles = [verdict.commit.settle for verdict in self.verdicts]
        return sum(isinstance(one, Requeue) and one.past is not None and one.past.loss is not None for one in settles)

    @property
    def returned(self) -> int:
        """How many are back in their queues to run."""
        return len(self.verdicts) - self.buried - self.failed


def take_over(app: Celery, timeout_s: float | None, waiting: Callable[[float], None]) -> Recovery:
    """Take over from every worker that is dead now; others who do the same at the same time are no trouble.

    Where death does not show at once we must have been alive for a lease ourselves before we may, like any worker: `waiting`
    is then called with the seconds that takes. Killed halfway, we leave what we hold to whoever recovers next.
    """
    broker = app.broker
    dead = tuple(state for state in broker.nodes() if not state.alive)
    if not dead:
        return Recovery((), (), ())
    plan = make_plan(Wishes(app.main or "recover", hostname=node_name("recover@%h")), app)
    # It serves no queue, so that nobody takes it for a worker.
    plan = replace(plan, pool="recover", concurrency=0, queues=())
    service = LeaseService(plan, broker, app.results)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    verdicts: list[Verdict] = []
    broker.register(plan.node())
    try:
        while True:
            verdicts += service.take_over()
            left = _still_dead(broker, dead)
            if not left or (deadline is not None and time.monotonic() >= deadline):
                return Recovery(dead, left, tuple(verdicts))
            waiting(max(plan.lease_s, *(state.node.lease_s for state in left)))
            time.sleep(min(_LOOK_S, plan.lease_s / 4))
    finally:
        service.sign_off()


def _still_dead(broker: Broker, dead: tuple[NodeState, ...]) -> tuple[NodeState, ...]:
    known = {state.node.id for state in broker.nodes() if not state.alive}
    return tuple(state for state in dead if state.node.id in known)
