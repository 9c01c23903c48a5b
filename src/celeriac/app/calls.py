"""How an application calls tasks: by name, with signatures, and by which queues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack, cast

from celeriac.cautions import warn
from celeriac.exceptions import AlwaysEagerIgnored
from celeriac.settings import Settings
from celeriac.task import Task

if TYPE_CHECKING:
    from celeriac.app.application import Celery
    from celeriac.app.registry import Registry
    from celeriac.calling import CallKeywords
    from celeriac.canvas import Signature
    from celeriac.engines.base import ResultStore
    from celeriac.prepared import PreparedCalls
    from celeriac.result import AsyncResult
    from celeriac.retries import RetryPolicy
    from celeriac.routing import Router

__all__ = ["Calls"]


class Calls:
    """The part of `Celery` that calls tasks."""

    conf: Settings
    _tasks: Registry

    def __init__(self) -> None:
        self._routers: tuple[Any, Router] | None = None

    @cached_property
    def prepared_calls(self) -> PreparedCalls:
        """What calls with the same options have in common."""
        from celeriac.prepared import PreparedCalls

        return PreparedCalls(cast("Celery", self))

    def send_task(
        self,
        name: str,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Unpack[CallKeywords],
    ) -> AsyncResult[Any]:
        """Call a task by its name alone, which this process need not know. Options are those of `Task.apply_async`."""
        from celeriac.calling import all_options, check_keywords, make_outgoing
        from celeriac.task import sending

        if self.conf.task_always_eager:
            warn("task_always_eager has no effect on send_task: the task is sent", AlwaysEagerIgnored)
        given = all_options(options, task_id=task_id, link=link, link_error=link_error, shadow=shadow)
        check_keywords(name, given)
        app = cast("Celery", self)
        known = task = self._tasks.get(name)
        if task is None:
            task = Task()
            task.name, task._app = name, app  # type: ignore[misc]
        outgoing = make_outgoing(app, name, list(args or ()), dict(kwargs or {}), given, known)
        sending.publish(task, outgoing, given)
        return sending.result_of(task, outgoing, given)

    def signature(self, *args: Any, **kwargs: Any) -> Signature[Any]:
        """A signature of a task, by itself or by its name: `app.signature("tasks.add", (2, 2))`."""
        from celeriac.canvas import signature

        return signature(*args, app=cast("Celery", self), **kwargs)

    def AsyncResult(  # noqa: N802  # Celery's name
        self,
        task_id: str,
        backend: ResultStore | None = None,
        task_name: str | None = None,
        app: Celery | None = None,
        parent: AsyncResult[Any] | None = None,
    ) -> AsyncResult[Any]:
        """The result of an earlier call, by its id."""
        from celeriac.result import AsyncResult

        return AsyncResult(task_id, backend, task_name, app or cast("Celery", self), parent)

    def route(
        self, options: Mapping[str, Any], name: str, args: Any, kwargs: Any, task: Task[..., Any] | None
    ) -> dict[str, Any]:
        """The options of a call with the name of its queue, as the settings have it."""
        conf = self.conf.values_now
        queue = options.get("queue")
        plain = queue is None or (isinstance(queue, str) and queue != "")
        if (
            plain
            and not conf["task_routes"]
            and not conf["task_queues"]
            and conf["task_create_missing_queues"]
            and options.get("exchange") is None
        ):
            return {**options, "queue": _printable(queue or conf["task_default_queue"])}
        if isinstance(queue, str) and not queue:
            raise ValueError("queue must be a name, not ''")
        routed = self.router.route(options, name, args, kwargs, task)
        return {**routed, "queue": _printable(routed["queue"])}

    @property
    def routes_by_name(self) -> bool:
        """Whether the name of a task and the options of its call are all that its queue depends on."""
        return not self.conf.values_now["task_routes"] or self.router.by_name

    @property
    def router(self) -> Router:
        """Made of the settings; made anew when they change."""
        conf = self.conf
        made_of = (
            conf.task_queues,
            conf.task_routes,
            conf.task_default_queue,
            conf.task_default_exchange,
            conf.task_default_exchange_type,
            conf.task_default_routing_key,
            conf.task_create_missing_queues,
            conf.task_queue_max_priority,
        )
        if self._routers is None or any(
            old is not new and old != new for old, new in zip(self._routers[0], made_of, strict=True)
        ):
            from celeriac.queues import Queues
            from celeriac.routing import Router

            queues = Queues.of(
                conf.task_queues,
                default_queue=conf.task_default_queue,
                default_exchange=conf.task_default_exchange,
                default_exchange_type=conf.task_default_exchange_type,
                default_routing_key=conf.task_default_routing_key,
                create_missing=conf.task_create_missing_queues,
                max_priority=conf.task_queue_max_priority,
            )
            self._routers = (made_of, Router(queues, conf.task_routes))
        return self._routers[1]

    def select_queues(self, queues: Iterable[str] | str) -> tuple[str, ...]:
        """The queues that a worker serves when it is told `-Q queues`; raises `QueueNotFound`."""
        return self.router.queues.select(queues).selected

    def _publish_policy(self) -> RetryPolicy:
        from celeriac.retries import RetryPolicy

        if not self.conf.task_publish_retry:
            return RetryPolicy(max_retries=0)
        return RetryPolicy.from_celery(self.conf.task_publish_retry_policy)


def _printable(queue: str) -> str:
    # A lone surrogate has no UTF-8: found only when it is sent, it would take down what is sent along with it.
    if not queue.isprintable() and any("\ud800" <= character <= "\udfff" for character in queue):
        raise ValueError(f"queue must be a name, not {queue!r}")
    return queue
