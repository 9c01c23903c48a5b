"""Which queue a call goes to: the setting `task_routes`, read as Celery reads it.

What the caller says comes first, then what the task says, then the first router that answers, then the default queue. Each
of them may say only a part: a route's priority holds also for a call that names its queue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import translate
from typing import Any

from celeriac.exceptions import ConfigError, QueueNotFound
from celeriac.queues import Binding, Queue, Queues, is_queue
from celeriac.symbols import symbol

__all__ = ["Router"]

#: The options that a task may have of its own (celery 5.7, celery/app/task.py, extract_exec_options).
_TASK_OPTIONS = (
    "queue",
    "routing_key",
    "exchange",
    "priority",
    "expires",
    "serializer",
    "delivery_mode",
    "compression",
    "time_limit",
    "soft_time_limit",
)

Route = Mapping[str, Any]
#: Called with name, args, kwargs, options and the keyword task; answers with a route or None.
_Answering = Callable[..., Any]


class Router:
    """Finds the queue of each call.

    `routes` is the value of `task_routes`: a dictionary of task names, globs (`feeds.*`) or compiled regular expressions and
    their routes; a list of such pairs; a function; the dotted name of a function or class; or a list of all these. What a
    dotted name means is imported here, so make the router when it is first needed. Raises `ConfigError` for what is none.
    """

    def __init__(self, queues: Queues, routes: Any = None) -> None:
        self.queues = queues
        self._routers = [_router(entry) for entry in _entries(routes)]
        #: Whether all routes go by the task's name alone.
        self.by_name = all(isinstance(router, _Table) for router in self._routers)

    def route(
        self,
        options: Mapping[str, Any],
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        task: Any = None,
    ) -> dict[str, Any]:
        """The options of the call, with `queue` as the name of its queue and without exchange and routing key.

        An option that is None counts as not given. `task` is the task's object where there is one; its own options come
        after the caller's. Raises `QueueNotFound` when there is no such queue or no way to one.
        """
        given = {option: value for option, value in options.items() if value is not None}
        if task is not None:
            for option in _TASK_OPTIONS:
                value = getattr(task, option, None)
                if value is not None:
                    given.setdefault(option, value)
        if self._routers:
            given = {**self._lookup(name, args, kwargs or {}, given, task), **given}
        queue = self._queue(given.pop("queue", None))
        exchange, exchange_type = _exchange(given.pop("exchange", None), given.pop("exchange_type", None))
        given["queue"] = self._destination(queue, exchange, given.pop("routing_key", None), exchange_type)
        return given

    def _lookup(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], given: Mapping[str, Any], task: Any
    ) -> dict[str, Any]:
        for router in self._routers:
            answer = router(name, args, kwargs, dict(given), task=task)
            if answer is not None:  # an empty answer is one: the default queue
                return {option: value for option, value in _route(answer, name).items() if value is not None}
        return {}

    def _queue(self, queue: Any) -> Queue:
        if not queue:
            return self.queues.find(self.queues.default)
        return self.queues.find(queue) if isinstance(queue, str) else self.queues.adopt(queue)

    def _destination(
        self, queue: Queue, exchange: str | None, routing_key: str | None, exchange_type: str | None
    ) -> str:
        # celery 5.7, celery/app/amqp.py, send_task_message: a direct exchange is left out unless exchange and key are said.
        if (exchange_type or queue.exchange_type) == "direct" and not (exchange and routing_key):
            return queue.name
        if exchange is None:
            exchange, routing_key = queue.exchange, routing_key or queue.routing_key
        routing_key = routing_key or ""
        if not exchange and routing_key:  # AMQP's nameless exchange: the key is the queue's name
            return self.queues.find(routing_key).name
        found = self.queues.bound_to(exchange, routing_key)
        if queue.name not in found and queue.receives(exchange, routing_key):
            found.append(queue.name)
        if len(found) > 1:
            raise ConfigError(
                f"exchange {exchange!r} leads to the queues {', '.join(found)} for the routing key {routing_key!r}, and the "
                "task would run once for each; bind one of them otherwise, or name the queue"
            )
        if found:
            return found[0]
        if exchange == routing_key and self.queues.create_missing:
            return exchange  # how a queue that was created for its name is bound
        raise QueueNotFound(
            f"no queue is bound to exchange {exchange!r} with the routing key {routing_key!r}; name the queue, or "
            "bind one in the setting task_queues"
        )


class _Table:
    """Routes by the name of the task: exact names first, then patterns in their order."""

    def __init__(self, pairs: Iterable[Any]) -> None:
        self._exact: dict[str, Route] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []
        for pair in pairs:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], (str, re.Pattern)):
                raise ConfigError(
                    f"setting task_routes: a route is a pair of a task's name and a route, not {pair!r:.80}"
                )
            pattern, route = pair[0], _route(pair[1], pair[0])
            if isinstance(pattern, re.Pattern):
                self._patterns.append((pattern, route))
            elif "*" in pattern:
                self._patterns.append((re.compile(translate(pattern)), route))
            else:
                self._exact[pattern] = route

    def __call__(self, name: str, *_args: Any, **_more: Any) -> Route | None:
        exact = self._exact.get(name)
        if exact is not None:
            return exact
        return next((route for pattern, route in self._patterns if pattern.match(name)), None)


def _entries(routes: Any) -> Sequence[Any]:
    if routes is None:
        return ()
    return routes if isinstance(routes, (list, tuple)) else (routes,)


def _router(entry: Any) -> _Answering:
    if isinstance(entry, Mapping):
        return _Table(entry.items())
    if isinstance(entry, (list, tuple)):
        # Without the list around its pairs, as it is often written, each pair is an entry of its own.
        alone = len(entry) == 2 and isinstance(entry[0], (str, re.Pattern))
        return _Table([entry] if alone else entry)
    if isinstance(entry, str):
        entry = symbol(entry, "task_routes")
    if isinstance(entry, type):
        entry = entry()
    if hasattr(entry, "route_for_task"):
        return lambda name, args, kwargs, *_options, **_more: entry.route_for_task(name, args, kwargs)
    if not callable(entry):
        raise ConfigError(f"setting task_routes: {entry!r:.80} is no dictionary, list, function or name of one")
    router: _Answering = entry
    return router


def _route(value: Any, pattern: Any) -> Route:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, str):
        return {"queue": value} if value else {}
    if is_queue(value):
        return {"queue": value}
    raise ConfigError(f"the route of {pattern} is the name of a queue or a dictionary of options, not {value!r:.80}")


def _exchange(exchange: Any, exchange_type: str | None) -> tuple[str | None, str | None]:
    if exchange is not None and not isinstance(exchange, str):
        exchange = exchange.name
    if exchange_type is not None:
        Binding(exchange or "", "", exchange_type)
    return exchange, exchange_type
