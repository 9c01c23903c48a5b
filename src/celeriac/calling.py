"""From a call to a message: options checked, arguments written, headers as Celery's producers write them.

Headers that Celery writes as null are left out; its workers take both (celery 5.7, celery/app/amqp.py `as_task_v2`).
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, TypedDict

from celeriac import signals
from celeriac.clock import Clock, utc
from celeriac.exceptions import EncodeError
from celeriac.ids import new_id
from celeriac.messages import EMBED, Body, EncodedBody, Message, Outgoing, encode_body
from celeriac.prepared import Prepared, priority_number
from celeriac.request import running
from celeriac.serialization import unencodable
from celeriac.settings import closest

if TYPE_CHECKING:
    from celeriac.app import Celery
    from celeriac.request import Context
    from celeriac.task import Task

__all__ = [
    "CallKeywords",
    "all_options",
    "calls_of",
    "check_keywords",
    "encode_arguments",
    "make_outgoing",
    "moments",
    "signatures",
]

_SURROGATE = re.compile("[\ud800-\udfff]")


class CallKeywords(TypedDict, total=False):
    """The options of a call. Times are datetimes (naive ones in the application's zone) or seconds from now."""

    countdown: float | timedelta | None
    eta: datetime | str | None
    expires: float | timedelta | datetime | str | None
    queue: Any
    exchange: Any
    routing_key: str | None
    priority: int | None
    serializer: str | None
    compression: str | None
    time_limit: float | None
    soft_time_limit: float | None
    ignore_result: bool | None
    headers: Mapping[str, Any] | None
    reply_to: str | None
    root_id: str | None
    parent_id: str | None
    group_id: str | None
    group_index: int | None
    chord: Any
    chain: Any
    replaced_task_nesting: int
    retries: int
    stamped_headers: Sequence[str] | None
    retry: bool
    retry_policy: Mapping[str, Any] | None
    add_to_parent: bool
    connection: Any
    argsrepr: str | None
    kwargsrepr: str | None
    delivery_mode: Any
    declare: Any
    timeout: Any
    confirm_timeout: Any
    router: Any
    result_cls: Any
    publisher: Any


_POSITIONAL = frozenset({"args", "kwargs", "task_id", "producer", "link", "link_error", "shadow"})
_KNOWN = frozenset(CallKeywords.__annotations__) | _POSITIONAL


def check_keywords(name: str, options: Mapping[str, Any]) -> None:
    """Refuse a slip of the pen; other unknown options become properties of the message, as with Celery."""
    if options.keys() <= _KNOWN:
        return
    stamps = options.get("stamped_headers") or ()
    for option in options.keys() - _KNOWN:
        near = closest(option, _KNOWN)
        if near is not None and option not in stamps:
            raise TypeError(f"{name}: a call has no option {option!r}; did you mean {near!r}?")


def all_options(options: Mapping[str, Any], **named: Any) -> dict[str, Any]:
    """The options of a call, with those that have a parameter of their own where they were given."""
    return {**options, **{option: value for option, value in named.items() if value is not None}}


def make_outgoing(
    app: Celery,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    options: Mapping[str, Any],
    task: Task[..., Any] | None,
) -> Outgoing:
    """The message of one call. Raises `TypeError` or `ValueError` naming the option, `EncodeError` naming the argument."""
    prepared, own = app.prepared_calls.find(name, task, options, args, kwargs)
    if prepared.options:
        own = {**prepared.options, **own}
    run = running()
    parent = None if run is None else run.context
    task_id = _name("task_id", own.get("task_id")) or new_id()
    eta, expires = moments(own, app)
    headers = {
        **prepared.headers,
        "id": task_id,
        "root_id": own.get("root_id") or (parent.root_id or parent.id if parent else None) or task_id,
        "origin": _origin(),
    }
    if parent is not None and parent.id:
        headers["parent_id"] = parent.id
    properties: dict[str, Any] = {}
    embed: dict[str, Any] = {}
    if own:
        headers |= _own_headers(own, eta, expires)
        properties = _properties(own)
        embed = _embed(own)
    if signals.before_task_publish.receivers:
        # Receivers may change the headers: that is how traces and tenants travel.
        complete = {**dict.fromkeys(EMBED), **embed}
        signals.before_task_publish.send(
            sender=name,
            body=(args, kwargs, complete),
            exchange="",
            routing_key=prepared.queue,
            headers=headers,
            properties=properties,
            declare=[],
            retry_policy={**app.conf["task_publish_retry_policy"], **(own.get("retry_policy") or {})},
        )
        embed = {follower: value for follower, value in complete.items() if value is not None}
    body = encode_arguments(name, Body(args, kwargs, embed), prepared.serializer, prepared.compression)
    if body.compression is not None:
        headers["compression"] = body.compression
    message = Message(
        id=task_id,
        task=name,
        body=body.data,
        content_type=body.content_type,
        content_encoding=body.content_encoding,
        headers=headers,
        priority=_priority(prepared, parent),
        retries=headers.get("retries", 0),
        eta=eta,
        expires=expires,
        properties=properties,
    )
    return Outgoing(message, prepared.queue, None if eta is None else eta.timestamp())


def _priority(prepared: Prepared, parent: Context | None) -> int:
    if prepared.priority is not None:
        return prepared.priority
    inherited = (parent.delivery_info or {}).get("priority") if prepared.inherits_priority and parent else None
    return prepared.default_priority if inherited is None else priority_number(inherited)


def _own_headers(own: Mapping[str, Any], eta: datetime | None, expires: datetime | None) -> dict[str, Any]:
    """The headers that follow from the options of one call."""
    named = {
        "parent_id": own.get("parent_id"),
        "retries": own.get("retries") or None,
        "eta": None if eta is None else eta.isoformat(),
        "expires": None if expires is None else expires.isoformat(),
        "group": own.get("group_id"),
        "group_index": own.get("group_index"),
        "shadow": own.get("shadow"),
        "argsrepr": own.get("argsrepr"),
        "kwargsrepr": own.get("kwargsrepr"),
        "replaced_task_nesting": own.get("replaced_task_nesting"),
    }
    headers = {header: value for header, value in named.items() if value is not None}
    if own.keys() - _KNOWN or "stamped_headers" in own:
        headers |= _stamps(own)
    headers |= _custom_headers(own.get("headers"))
    return headers


def _embed(own: Mapping[str, Any]) -> dict[str, Any]:
    """What follows the task, which travels with its arguments."""
    embed = {
        "callbacks": signatures("link", own.get("link")),
        "errbacks": signatures("link_error", own.get("link_error")),
        "chain": own.get("chain"),
        "chord": own.get("chord"),
    }
    return {follower: value for follower, value in embed.items() if value is not None}


def encode_arguments(name: str, body: Body, serializer: str, compression: str | None) -> EncodedBody:
    """The body of a message; raises `EncodeError` naming the argument that cannot be written."""
    try:
        return encode_body(body, serializer, compression)
    except EncodeError as error:
        arguments = [(f"argument {position}", value) for position, value in enumerate(body.args, 1)]
        arguments += [(f"argument {parameter!r}", value) for parameter, value in body.kwargs.items()]
        for argument, value in arguments:
            reason = unencodable(value, serializer)
            if reason is not None:
                raise EncodeError(
                    f"{name}: {argument} cannot be sent: {reason}. Pass plain data (text, numbers, lists, dictionaries, "
                    "dates), or an id by which the task finds the rest"
                ) from None
        raise EncodeError(f"{name}: the arguments cannot be sent: {error}") from None


def moments(options: Mapping[str, Any], app: Celery) -> tuple[datetime | None, datetime | None]:
    """The times `eta` and `expires` of a call, aware."""
    countdown, eta, expires = options.get("countdown"), options.get("eta"), options.get("expires")
    if countdown is None and eta is None and expires is None:
        return None, None
    clock, zone = app.clock, app.timezone
    if countdown is not None:
        if eta is not None:
            raise ValueError("give countdown or eta, not both")
        eta = _after("countdown", countdown, clock)
    elif eta is not None:
        eta = _moment("eta", eta, zone)
        if eta is None:
            raise TypeError(f"eta must be a datetime, not {options['eta']!r}; for seconds from now use countdown")
    if expires is not None:
        expires = _moment("expires", expires, zone) or _after("expires", expires, clock)
    return eta, expires


def signatures(option: str, value: Any) -> list[Any] | None:
    """Signatures as they travel: a list, or None for none."""
    if value is None:
        return None
    found = list(value) if isinstance(value, (list, tuple)) else [value]
    for one in found:
        if not isinstance(one, Mapping) or "task" not in one:
            raise TypeError(f"{option} must be a signature (task.s(...)) or a list of them, not {one!r:.80}")
    return found or None


def _stamps(options: Mapping[str, Any]) -> dict[str, Any]:
    names = list(options.get("stamped_headers") or ())
    if not names:
        return {}
    stamps = {name: _as_list(options[name]) for name in names if name in options}
    return {"stamped_headers": names, "stamps": stamps}


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]


def _custom_headers(headers: Any) -> Mapping[str, Any]:
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers must be a dictionary, not {headers!r:.80}")
    return headers


def _properties(options: Mapping[str, Any]) -> dict[str, Any]:
    stamps = options.get("stamped_headers") or ()
    properties = {name: options[name] for name in options.keys() - _KNOWN if name not in stamps}
    if options.get("reply_to") is not None:
        properties["reply_to"] = options["reply_to"]
    return properties


def _name(option: str, value: Any) -> str | None:
    # A lone surrogate has no UTF-8: found only when it is sent, it would take down what is sent along with it.
    if value is None:
        return None
    if not isinstance(value, str) or not value or _SURROGATE.search(value):
        raise ValueError(f"{option} must be a non-empty string, not {value!r}")
    return value


def _moment(option: str, value: Any, zone: tzinfo) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{option} must be a time like 2026-12-24T18:00, not {value!r}") from None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo is not None else value.replace(tzinfo=zone)


def _after(option: str, value: Any, clock: Clock) -> datetime:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{option} must be a number of seconds, not {value!r}")
    try:
        return utc(clock.time() + seconds)
    except (OverflowError, ValueError):
        raise ValueError(f"{option} must be a number of seconds that leads to a date, not {value!r}") from None


@functools.cache
def _origin() -> str:
    """This process, as monitors show who has sent a message."""
    import socket

    return f"gen{os.getpid()}@{socket.gethostname()}"


os.register_at_fork(after_in_child=_origin.cache_clear)


def calls_of(name: str, calls: Iterable[Any]) -> Iterable[tuple[Sequence[Any], Mapping[str, Any]]]:
    """Positional and keyword arguments of each call that `delay_many` was given."""
    for call in calls:
        if isinstance(call, (tuple, list)):
            yield call, {}
        elif isinstance(call, Mapping):
            yield (), call
        elif isinstance(call, Sequence) and not isinstance(call, str):
            yield call, {}
        else:
            raise TypeError(f"{name}: a call is a sequence of arguments or a dictionary of them, not {call!r:.80}")
