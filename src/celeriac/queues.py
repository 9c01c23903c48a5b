"""Queues as they are configured: what the setting `task_queues` and the options -Q and -X say.

A queue is bound to exchanges by routing keys, as in AMQP. The stores know queues only: exchanges decide which queue a task
goes to, and are done with then (`routing.py`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from celeriac.exceptions import ConfigError, QueueNotFound
from celeriac.settings import closest

__all__ = ["Binding", "Queue", "Queues", "is_queue"]

#: What else may be said of a queue; it is for brokers that declare queues.
_DECLARATION = (
    "durable",
    "exclusive",
    "auto_delete",
    "no_ack",
    "no_declare",
    "expires",
    "message_ttl",
    "max_length",
    "max_length_bytes",
    "binding_arguments",
    "consumer_arguments",
    "exchange_durable",
    "exchange_auto_delete",
    "exchange_arguments",
    "queue_durable",
    "queue_auto_delete",
    "delivery_mode",
)
_FIELDS = (
    "exchange",
    "exchange_type",
    "routing_key",
    "binding_key",
    "alias",
    "max_priority",
    "queue_arguments",
    "bindings",
)


class Binding(msgspec.Struct, frozen=True):
    """Under which exchange and key a queue is reached. An exchange is of type direct or topic."""

    exchange: str
    routing_key: str
    exchange_type: str = "direct"

    def __post_init__(self) -> None:
        exchange: Any = self.exchange
        if not isinstance(exchange, str):
            raise ConfigError(f"an exchange is given by its name, a string, and not as {exchange!r:.80}")
        if self.exchange_type not in ("direct", "topic"):
            raise ConfigError(
                f"exchange {self.exchange!r} is of type {self.exchange_type!r}; celeriac has direct and topic: "
                "a task goes to one queue. To have it run in several places, call it once for each queue"
            )

    def matches(self, exchange: str, routing_key: str) -> bool:
        """Whether what is sent there, under this key, comes here."""
        if exchange != self.exchange:
            return False
        if self.exchange_type == "direct":
            return routing_key == self.routing_key
        return _topic(self.routing_key).fullmatch(routing_key) is not None


class Queue(msgspec.Struct, frozen=True):
    """One queue. Without an exchange or a routing key it gets the application's default.

    `max_priority` is the highest priority that a RabbitMQ queue tells apart, and served first there. On Redis and SQLite
    priorities are 0 to 9 without it, and 0 is served first, as with Celery on Redis.
    """

    name: str
    exchange: str = ""
    routing_key: str = ""
    exchange_type: str = "direct"
    alias: str | None = None
    max_priority: int | None = None
    queue_arguments: Mapping[str, Any] = msgspec.field(default_factory=dict)
    bindings: tuple[Binding, ...] = ()
    declaration: Mapping[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        name: Any = self.name
        if not isinstance(name, str) or not name:
            raise ConfigError(f"the name of a queue is a non-empty string, not {name!r}")
        Binding(self.exchange, self.routing_key, self.exchange_type)
        highest: Any = self.max_priority
        if highest is not None and (type(highest) is not int or not 0 <= highest <= 255):
            raise ConfigError(f"queue {self.name!r}: max_priority is a whole number from 0 to 255, not {highest!r}")

    @classmethod
    def of(cls, value: Any) -> Queue:
        """From a name, or an object like kombu's `Queue`; raises `ConfigError` for anything else."""
        if isinstance(value, Queue):
            return value
        if isinstance(value, str):
            return cls(value, exchange=value, routing_key=value)
        if not is_queue(value):
            raise ConfigError(f"a queue is a name, a dictionary or a Queue, not {value!r:.80}")
        options = {name: getattr(value, name, None) for name in (*_FIELDS, *_DECLARATION)}
        return cls._from(value.name, options)

    @classmethod
    def of_options(cls, name: str, options: Mapping[str, Any]) -> Queue:
        """From an item of a dictionary of queues; the routing key is the queue's name unless it is given."""
        known = dict.fromkeys((*_FIELDS, *_DECLARATION))
        for option in options:
            if option not in known:
                near = closest(str(option), known)
                hint = f"did you mean {near!r}?" if near else f"there are {', '.join(known)}"
                raise ConfigError(f"queue {name!r} has no option {option!r}; {hint}")
        routing_key = options.get("routing_key") or options.get("binding_key") or name
        return cls._from(name, {**options, "routing_key": routing_key})

    @classmethod
    def _from(cls, name: str, options: Mapping[str, Any]) -> Queue:
        arguments = dict(options.get("queue_arguments") or {})
        highest = options.get("max_priority")
        exchange, exchange_type = _exchange(options)
        return cls(
            name,
            exchange=exchange,
            routing_key=options.get("routing_key") or "",
            exchange_type=exchange_type,
            alias=options.get("alias"),
            max_priority=arguments.get("x-max-priority") if highest is None else highest,
            queue_arguments=arguments,
            bindings=tuple(map(_binding, options.get("bindings") or ())),
            declaration={key: options[key] for key in _DECLARATION if options.get(key) is not None},
        )

    def receives(self, exchange: str, routing_key: str) -> bool:
        """Whether a task that is sent to this exchange under this key comes into this queue."""
        own = Binding(self.exchange, self.routing_key, self.exchange_type)
        return any(binding.matches(exchange, routing_key) for binding in (own, *self.bindings))


class Queues(msgspec.Struct, frozen=True):
    """All queues that are configured, and which of them a worker serves (`selected`). A value: selecting makes another."""

    default: str
    defined: Mapping[str, Queue]
    selected: tuple[str, ...]
    create_missing: bool
    pattern: Queue

    @classmethod
    def of(
        cls,
        task_queues: Any = None,
        *,
        default_queue: str = "celery",
        default_exchange: str | None = None,
        default_exchange_type: str = "direct",
        default_routing_key: str | None = None,
        create_missing: bool = True,
        max_priority: int | None = None,
    ) -> Queues:
        """From the settings. `task_queues` is a list of names or queues, or a dictionary of names and options.

        Without it there is just the default queue. With `create_missing` any other name is a queue too, once it is used.
        """
        pattern = Queue(
            default_queue,
            exchange=default_exchange or default_queue,
            routing_key=default_routing_key or default_queue,
            exchange_type=default_exchange_type,
            max_priority=max_priority,
        )
        made = [_with_defaults(queue, pattern) for queue in _listed(task_queues)] or [pattern]
        defined = {queue.name: queue for queue in made}
        return cls(default_queue, defined, tuple(defined), create_missing, pattern)

    def find(self, name: str) -> Queue:
        """The queue of that name or alias; raises `QueueNotFound` when there is none and none may be created."""
        queue = self.defined.get(name)
        if queue is None:
            queue = next((other for other in self.defined.values() if other.alias == name), None)
        if queue is None and self.create_missing:
            return _created(name, self.pattern.max_priority)
        if queue is None:
            raise QueueNotFound(f"there is no queue {name!r} in the setting task_queues; {self._hint(name)}")
        return queue

    def adopt(self, queue: Any) -> Queue:
        """A queue that need not be defined, with the defaults of those that are."""
        return _with_defaults(Queue.of(queue), self.pattern)

    def bound_to(self, exchange: str, routing_key: str) -> list[str]:
        """The defined queues that receive what is sent to this exchange under this key."""
        return [queue.name for queue in self.defined.values() if queue.receives(exchange, routing_key)]

    def select(self, names: Iterable[str] | str) -> Queues:
        """Only these, in this order (`-Q`); a single name may stand without a list. No names: all that were selected."""
        chosen = tuple(dict.fromkeys(self.find(name).name for name in _names(names)))
        return replace(self, selected=chosen) if chosen else self

    def deselect(self, names: Iterable[str] | str) -> Queues:
        """All but these (`-X`). A name that no queue has is an error, since it would leave served what must not be."""
        strict = replace(self, create_missing=False)
        excluded = {name if name in self.selected else strict.find(name).name for name in _names(names)}
        left = tuple(name for name in self.selected if name not in excluded)
        if not left:
            raise ConfigError(f"no queue is left; excluded: {', '.join(sorted(excluded))}")
        return replace(self, selected=left)

    def _hint(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.defined, n=1)
        did_you_mean = f"; did you mean {near[0]!r}?" if near else ""
        return f"there are {', '.join(sorted(self.defined))}{did_you_mean}"


def is_queue(value: Any) -> bool:
    """Whether this is a queue, ours or one like kombu's."""
    return isinstance(value, Queue) or (hasattr(value, "name") and hasattr(value, "routing_key"))


@lru_cache(maxsize=1000)
def _created(name: str, max_priority: int | None) -> Queue:
    return Queue(name, exchange=name, routing_key=name, max_priority=max_priority)


def _listed(task_queues: Any) -> list[Queue]:
    if not task_queues:
        return []
    if isinstance(task_queues, Mapping):
        return [
            Queue.of_options(name, value or {}) if value is None or isinstance(value, Mapping) else Queue.of(value)
            for name, value in task_queues.items()
        ]
    if isinstance(task_queues, str) or not isinstance(task_queues, Iterable):
        raise ConfigError(f"setting task_queues must be a list or a dictionary of queues, not {task_queues!r:.80}")
    return [Queue.of(value) for value in task_queues]


def _with_defaults(queue: Queue, pattern: Queue) -> Queue:
    changes: dict[str, Any] = {}
    if not queue.exchange:
        changes.update(exchange=pattern.exchange, exchange_type=pattern.exchange_type)
    if not queue.routing_key:
        changes["routing_key"] = pattern.routing_key
    if queue.max_priority is None and pattern.max_priority is not None:
        changes["max_priority"] = pattern.max_priority
    return replace(queue, **changes) if changes else queue


def _exchange(options: Mapping[str, Any]) -> tuple[str, str]:
    exchange = options.get("exchange")
    if exchange is None or isinstance(exchange, str):
        return exchange or "", options.get("exchange_type") or "direct"
    return exchange.name or "", getattr(exchange, "type", None) or "direct"


def _binding(value: Any) -> Binding:
    if isinstance(value, Binding):
        return value
    options = value if isinstance(value, Mapping) else {"exchange": value.exchange, "routing_key": value.routing_key}
    exchange, exchange_type = _exchange(options)
    return Binding(exchange, options.get("routing_key") or "", exchange_type)


def _names(names: Iterable[str] | str) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


@lru_cache(maxsize=1000)
def _topic(key: str) -> re.Pattern[str]:
    """A topic's key as a regular expression: `*` is one word, `#` any number; as Celery's virtual transports read it."""
    wildcards = {"*": r"[^.]+", "#": ".*"}
    return re.compile(r"\.".join(wildcards.get(word) or re.escape(word) for word in key.split(".")))
