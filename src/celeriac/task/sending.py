"""How a task is called: its arguments become a message, the message is published, and its result can be waited for.

Imported at the first call: with it come messages, serializers, queues and results, which most programs that only import
an application never need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from celeriac import signals
from celeriac.calling import all_options, calls_of, check_keywords, make_outgoing
from celeriac.messages import EMBED, Outgoing, decode_body
from celeriac.request import running
from celeriac.result import AsyncResult, EagerResult, denied_join_result
from celeriac.retries import RetryPolicy
from celeriac.task.definition import Task
from celeriac.typevars import R

__all__ = ["all_options", "publish", "result_of", "send", "send_async", "send_many"]


def send(
    task: Task[..., R], args: Iterable[Any] | None, kwargs: Mapping[str, Any] | None, options: dict[str, Any]
) -> AsyncResult[R]:
    """`Task.apply_async`."""
    outgoing = _prepare(task, args, kwargs, options)
    if _is_eager(task):
        return _apply_sent(task, outgoing, options)
    publish(task, outgoing, options)
    return result_of(task, outgoing, options)


async def send_async(task: Task[..., R], args: Iterable[Any], kwargs: Mapping[str, Any]) -> AsyncResult[R]:
    """`Task.adelay`."""
    outgoing = _prepare(task, args, kwargs, {})
    if _is_eager(task):
        return _apply_sent(task, outgoing, {})
    await task.app.publisher.publish_async(outgoing)
    _tell_published(outgoing)
    return result_of(task, outgoing, {})


def send_many(
    task: Task[..., R], calls: Iterable[Sequence[Any] | Mapping[str, Any]], options: dict[str, Any]
) -> list[AsyncResult[R]]:
    """`Task.delay_many`."""
    prepared = [_prepare(task, args, kwargs, options) for args, kwargs in calls_of(task.name, calls)]
    if _is_eager(task):
        return [_apply_sent(task, outgoing, options) for outgoing in prepared]
    task.app.publisher.publish_many(prepared, _publish_policy(task, options))
    for outgoing in prepared:
        _tell_published(outgoing)
    return [result_of(task, outgoing, options) for outgoing in prepared]


def publish(task: Task[..., Any], outgoing: Outgoing, options: Mapping[str, Any]) -> None:
    """Have the broker store it; returns when it has."""
    task.app.publisher.publish(outgoing, _publish_policy(task, options))
    _tell_published(outgoing)


def result_of(task: Task[..., R], outgoing: Outgoing, options: Mapping[str, Any]) -> AsyncResult[R]:
    """The result of a call that was sent; a child of the run that has sent it."""
    message = outgoing.message
    ignored = bool(message.headers.get("ignore_result"))
    kind = options.get("result_cls") or AsyncResult
    result: AsyncResult[R] = kind(message.id, app=task.app, ignored=ignored, task_name=task.name)
    run = running()
    if run is not None and run.task.trail and options.get("add_to_parent", True):
        run.context.children.append(result)
    return result


def _prepare(
    task: Task[..., Any], args: Iterable[Any] | None, kwargs: Mapping[str, Any] | None, options: dict[str, Any]
) -> Outgoing:
    positional, named = list(args or ()), dict(kwargs or {})
    if options:
        check_keywords(task.name, options)
    app = task.app
    if task.checks_arguments:
        task._parameters.check(positional, named)
    if task._models is not None:
        serializer = options.get("serializer") or task.serializer or app.conf.task_serializer
        if serializer != "pickle":  # which can send a model as it is
            positional, named = task._models.dumped(positional, named, app)
    if "shadow" not in options and type(task).shadow_name is not Task.shadow_name:
        options = {**options, "shadow": task.shadow_name(positional, named, options)}
    return make_outgoing(app, task.name, positional, named, options, task)


def _publish_policy(task: Task[..., Any], options: Mapping[str, Any]) -> RetryPolicy | None:
    """How often this call's publish is repeated; None: as the settings say."""
    retry = options.get("retry")
    if retry is False:
        return RetryPolicy(max_retries=0)
    if retry is None and "retry_policy" not in options:
        return None
    conf = task.app.conf
    if options.get("retry_policy") is not None or (retry and not conf.task_publish_retry):
        return RetryPolicy.from_celery({**conf.task_publish_retry_policy, **(options.get("retry_policy") or {})})
    return None


def _apply_sent(task: Task[..., R], outgoing: Outgoing, options: Mapping[str, Any]) -> EagerResult[R]:
    """For `task_always_eager`: arguments make the way through the serializer, as they would to a worker."""
    from celeriac.execution.eager import apply_outgoing

    with denied_join_result():  # what a worker would refuse is found in tests
        return apply_outgoing(task, outgoing, options)


def _is_eager(task: Task[..., Any]) -> bool:
    return bool(task.app.conf.values_now["task_always_eager"])


def _tell_published(outgoing: Outgoing) -> None:
    if not (signals.after_task_publish.receivers or signals.task_sent.receivers):
        return
    message = outgoing.message
    body = decode_body(message, frozenset({message.content_type}))
    signals.after_task_publish.send(
        sender=message.task,
        body=(body.args, body.kwargs, {**dict.fromkeys(EMBED), **body.embed}),
        exchange="",
        routing_key=outgoing.queue,
        headers=message.headers,
    )
    signals.task_sent.send(
        sender=message.task,
        task_id=message.id,
        task=message.task,
        args=body.args,
        kwargs=body.kwargs,
        eta=message.headers.get("eta"),
        taskset=message.headers.get("group"),
    )
