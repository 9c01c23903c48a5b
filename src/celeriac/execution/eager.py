"""Running a task here and now: `task.apply()`, and every call under `task_always_eager`.

The same runs as a worker's, with no store beneath: retries follow at once, callbacks are called (or sent, where only this
one call is eager), as in Celery.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from celeriac import states
from celeriac.calling import signatures
from celeriac.canvas import Signature
from celeriac.documents import Document
from celeriac.engines.base import Ack, Record, Settle
from celeriac.execution.calls import DirectCaller
from celeriac.execution.executor import context_of
from celeriac.execution.run import OneRun
from celeriac.messages import Body, Outgoing, decode_body
from celeriac.request import Context, running
from celeriac.result import EagerResult
from celeriac.runs import Again
from celeriac.task import Task

__all__ = ["apply", "apply_outgoing"]


def apply(
    task: Task[..., Any],
    args: list[Any],
    kwargs: dict[str, Any],
    throw: bool | None,
    *,
    link: Any = None,
    link_error: Any = None,
    task_id: str | None = None,
    retries: int = 0,
    **options: Any,
) -> EagerResult[Any]:
    """As `Task.apply`."""
    run = running()
    parent = None if run is None else run.context
    task_id = task_id or str(uuid.uuid4())
    ignore = options.get("ignore_result")
    hard, soft = options.get("time_limit"), options.get("soft_time_limit")
    context = Context(
        id=task_id,
        task=task.name,
        args=args,
        kwargs=kwargs,
        retries=retries,
        root_id=options.get("root_id") or (parent.root_id or parent.id if parent else None) or task_id,
        parent_id=options.get("parent_id") or (parent.id if parent else None),
        callbacks=signatures("link", link),
        errbacks=signatures("link_error", link_error),
        timelimit=None if hard is None and soft is None else [hard, soft],
        time_limit=hard,
        soft_time_limit=soft,
        hostname=socket.gethostname(),
        correlation_id=task_id,
        logfile=options.get("logfile"),
        loglevel=options.get("loglevel") or 0,
        ignore_result=task.ignores_result if ignore is None else ignore,
        headers=dict(options.get("headers") or {}) or None,
        delivery_info={
            "exchange": options.get("exchange"),
            "routing_key": options.get("routing_key"),
            "priority": options.get("priority"),
        },
    )
    return _run_until_ended(task, context, Body(args, kwargs), throw)


def apply_outgoing(task: Task[..., Any], outgoing: Outgoing, options: Mapping[str, Any]) -> EagerResult[Any]:
    """Run what was made to be sent: its arguments come out of the serializer as a worker would get them."""
    message = outgoing.message
    body = decode_body(message, frozenset({message.content_type}))
    context = context_of(message, body, hostname=socket.gethostname(), queue=outgoing.queue)
    result = _run_until_ended(task, context, body, None)
    run = running()
    if run is not None and run.task.trail and options.get("add_to_parent", True):
        run.context.children.append(result)
    return result


def _run_until_ended(task: Task[..., Any], context: Context, body: Body, throw: bool | None) -> EagerResult[Any]:
    if throw is None:
        throw = task.app.conf.task_eager_propagates
    context.is_eager, context.called_directly = True, False
    context.delivery_info = {**(context.delivery_info or {}), "is_eager": True}
    caller = DirectCaller()
    try:
        while True:
            run = EagerRun(task.app, str(context.hostname), task, context.id or "", context, body)
            outcome = run.execute(caller)
            if outcome.record is not None:
                run.store(outcome.record)
            if throw and outcome.state in states.EXCEPTION_STATES:
                raise outcome.value
            if run.again is None or outcome.state != states.RETRY:
                break
            context = Context(**{**vars(context), "retries": run.again.retries, "_children": []})
            for option, name in (("link", "callbacks"), ("link_error", "errbacks")):
                if option in run.again.options:
                    setattr(context, name, signatures(option, run.again.options[option]))
            if run.again.args is not None:
                context.args, context.kwargs = run.again.args, run.again.kwargs or {}
                body = Body(context.args, context.kwargs, body.embed)
    finally:
        caller.close()
    if run.replaced_by is not None:
        if throw:
            run.replaced_by.maybe_throw()
        return run.replaced_by
    trace = None if outcome.einfo is None else outcome.einfo.traceback
    return EagerResult(run.id, outcome.value, outcome.state, trace, name=task.name, app=task.app)


class EagerRun(OneRun):
    """A run without a lease."""

    def __init__(self, *facts: Any) -> None:
        super().__init__(*facts)
        self.again: Again | None = None
        self.replaced_by: EagerResult[Any] | None = None

    def record(self, document: Document) -> Record | None:
        if not self._effective("store_eager_result", "task_store_eager_result"):
            return None
        return Record(document.task_id, self.app.encode_document(document), self._ttl_s(document))

    def store(self, record: Record) -> None:
        self.app.results.store([record])

    def repeat(self, again: Again) -> None:
        self._retried = True
        self.again = again

    def follow(self, signature: Signature[Any], args: Sequence[Any]) -> None:
        if signature.id == self.id:  # it replaces this one, and is what the caller waits for
            self.replaced_by = signature.apply(args)
        else:
            signature.apply_async(args)

    def send_errback(self, errback: Signature[Any]) -> None:
        # Run here also where callbacks are sent, as in Celery.
        errback.apply((self.id,))

    def drop_what_follows(self) -> None:
        self.again = None

    def give_back(self) -> Settle:
        return Ack()  # there is no queue to go back to
