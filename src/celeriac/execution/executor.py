"""From a lease to a `Commit`: whether its task may run, the run, and all that it caused as one value.

No store is touched here but through the commit, so a run's effects are applied together (or, if the process dies first,
not at all).
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from celeriac import signals
from celeriac.app import Celery
from celeriac.calling import encode_arguments, make_outgoing, moments, signatures
from celeriac.canvas import Signature
from celeriac.documents import Document
from celeriac.engines.base import Ack, Bury, Commit, Keep, Lease, Record, Requeue, Settle
from celeriac.exceptions import DecodeError, NotRegistered
from celeriac.execution.calls import AsyncCaller, Caller
from celeriac.execution.failures import safe_repr
from celeriac.execution.inspection import check_followers, check_limits, check_writable
from celeriac.execution.outcomes import failures, with_history
from celeriac.execution.run import OneRun, Outcome
from celeriac.messages import Body, Malformed, Message, Outgoing, decode_body
from celeriac.past import Loss
from celeriac.request import Context
from celeriac.revoking import revoked_record
from celeriac.runs import Again
from celeriac.serialization import name_of
from celeriac.task import Task

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["Executor", "Keeper", "LeasedRun", "context_of"]

logger = logging.getLogger("celeriac.worker")

#: Since when (seconds since 1970) no worker that took the message knew the task. Foreign workers ignore the header.
UNKNOWN_SINCE = "celeriac_unknown_since"
_UNKNOWN_PAUSE_S = 5.0
_MOST_MISSED = 1000
_MOST_REFUSED = 10_000
#: So many at-most-once coroutines are marked as begun in one go.
_MOST_MARKING = 64
#: Headers that are facts of the run as they stand.
_FACTS = frozenset(
    {
        *("parent_id", "group", "group_index", "eta", "expires", "timelimit", "origin", "shadow"),
        *("replaced_task_nesting", "stamped_headers", "stamps"),
    }
)
#: What one delivery has added and the next must not find.
_FRESH: Mapping[str, Any] = {"redelivered": None, UNKNOWN_SINCE: None}
#: Facts by other names, and what is about the message only.
_STANDARD = frozenset(
    {
        *("lang", "task", "id", "root_id", "retries", "ignore_result", "argsrepr", "kwargsrepr", "compression"),
        *("redelivered", UNKNOWN_SINCE),
    }
)
#: With these alone, and no result to be ignored, a message is as plain as one can be.
_EVERYBODYS = _STANDARD | {"origin"}
_EMBEDDED = frozenset({"callbacks", "errbacks", "chain", "chord"})


class Keeper(Protocol):
    """Who holds the lease while the executor runs it (the courier)."""

    def begin(self, lease: Lease) -> bool:
        """Mark an at-most-once run as begun, for ever; False if the lease is lost."""

    def report(self, commit: Commit) -> None:
        """Store a document soon, under the lease."""


class Executor:
    """Runs the tasks of an application. Thread-safe: all slots of a process share one."""

    def __init__(self, app: Celery, hostname: str, keeper: Keeper) -> None:
        self._app = app
        self._hostname = hostname
        self._keeper = keeper
        self._failed = failures(app)
        self._missed: set[str] = set()
        self._threads: ThreadPoolExecutor | None = None
        #: Tokens of leases that were revoked between their claim and their run.
        self._refused: set[int] = set()

    @cached_property
    def _accept(self) -> frozenset[str]:
        return self._app.accept

    def refuse(self, token: int) -> None:
        """This lease was revoked: if it has not begun, it will not. From any thread."""
        if len(self._refused) >= _MOST_REFUSED:  # what was given back unbegun comes under another token
            self._refused.clear()
        self._refused.add(token)

    def sizes(self) -> dict[str, int]:
        """How much is remembered from earlier leases."""
        return {"leases refused": len(self._refused), "unknown task names": len(self._missed)}

    def execute(self, lease: Lease, caller: Caller) -> Commit:
        """Run it, and say how it ended. Raises nothing, whatever the task and its message do."""
        try:
            run = self.prepare(lease)
            commit = run if isinstance(run, Commit) else run.commit(run.execute(caller))
        except Exception as error:
            commit = self._unforeseen(lease, error)
        return with_history(commit, lease.past)

    async def execute_async(self, lease: Lease, caller: AsyncCaller) -> Commit:
        """As `execute`, for the coroutines of one event loop. What may block on the store runs in a thread."""
        try:
            run = await self._prepare_in_thread(lease) if self._may_block(lease) else self.prepare(lease)
            commit = run if isinstance(run, Commit) else run.commit(await run.execute_async(caller))
        except Exception as error:
            commit = self._unforeseen(lease, error)
        return with_history(commit, lease.past)

    async def _prepare_in_thread(self, lease: Lease) -> LeasedRun | Commit:
        """Not in the loop's own threads: tasks may fill those for as long as they like."""
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        if self._threads is None:
            self._threads = ThreadPoolExecutor(_MOST_MARKING, thread_name_prefix="celeriac-begin")
        prepare = contextvars.copy_context().run
        return await asyncio.get_running_loop().run_in_executor(self._threads, prepare, self.prepare, lease)

    def prepare(self, lease: Lease) -> LeasedRun | Commit:
        """The run of a lease, or at once the commit where there is nothing to run. Marks an at-most-once run as begun."""
        message = lease.message
        if isinstance(message, Malformed):
            logger.error("Buried a message of queue %s that cannot be read: %s", lease.queue, message.reason)
            if signals.task_rejected.receivers:
                signals.task_rejected.send(sender=self._app, message=message, exc=DecodeError(message.reason))
            return self._buried(lease, message.reason, DecodeError(message.reason))
        if lease.past.loss is not None:
            return self._lost(lease, message, lease.past.loss)
        if lease.revoked or lease.token in self._refused:
            return self._revoked(lease, message, "revoked")
        if message.expires is not None or message.eta is not None:
            now = self._app.clock.time()
            if message.expires is not None and message.expires.timestamp() <= now:
                return self._revoked(lease, message, "expired")
            if message.eta is not None and message.eta.timestamp() > now:
                # From a producer that left the waiting to the worker: it waits in the store instead.
                return Commit(lease.token, Requeue(message.eta.timestamp() - now))
        if lease.begun:
            reason = "an earlier worker had begun this at-most-once run (acks_late=False) and did not end it"
            return self._lost(lease, message, Loss(reason))
        task = self._app.tasks.get(message.task)
        if task is None:
            return self._unknown(lease, message)
        try:
            body = decode_body(message, self._accept)
            if any(body.embed.values()):
                _refuse_workflows(body)
                check_followers(body)
            check_limits(message.headers)
        except DecodeError as error:
            logger.error("Buried task %s[%s]: %s", message.task, message.id, error)
            return self._buried(lease, str(error), error)
        if message.headers.get("ignore_result") is None and task.ignores_result:
            message = message.with_headers(ignore_result=True)  # its producer, who knows only the name, left that to us
        if not self._at_least_once(task) and not self._keeper.begin(lease):
            return Commit(lease.token, Requeue())  # it is someone else's, so this will be refused
        logger.info("Task %s[%s] received", message.task, message.id)
        run = LeasedRun(self._app, self._hostname, task, body, lease, message, self._keeper)
        if signals.task_received.receivers:
            signals.task_received.send(sender=self._app, request=run.context)
        return run

    def _lost(self, lease: Lease, message: Message, loss: Loss) -> Commit:
        """A run that has failed with its process: the handlers of its failure are called here, or it is retried."""
        task = self._app.tasks.get(message.task)
        try:
            body = decode_body(message, self._accept)
        except DecodeError:
            task = None
        if task is None:
            return self._buried(lease, loss.reason, loss.error())
        run = LeasedRun(self._app, self._hostname, task, body, lease, message, self._keeper)
        return run.commit(run.lost(loss))

    def _may_block(self, lease: Lease) -> bool:
        task = None if isinstance(lease.message, Malformed) else self._app.tasks.get(lease.message.task)
        return task is not None and not self._at_least_once(task)

    def _at_least_once(self, task: Task[..., Any]) -> bool:
        return bool(self._app.conf.values_now["task_acks_late"] if task.acks_late is None else task.acks_late)

    def _buried(self, lease: Lease, reason: str, error: BaseException) -> Commit:
        return Commit(lease.token, Bury(reason), self._failed(lease, error))

    def _unforeseen(self, lease: Lease, error: Exception) -> Commit:
        """The end of a message around whose run something raised: it must not end its slot, and that of the next worker."""
        reason = f"celeriac could not run it to its end: {safe_repr(error)}"
        logger.critical("Buried a message of queue %s: %s", lease.queue, reason, exc_info=error)
        try:
            return self._buried(lease, reason, error)
        except Exception:  # what is wrong may be with results
            logger.exception("The failure of a message of queue %s could not be stored", lease.queue)
            return Commit(lease.token, Bury(reason))

    def _revoked(self, lease: Lease, message: Message, why: str) -> Commit:
        self._refused.discard(lease.token)
        at = f" at {message.expires}" if why == "expired" else ""
        logger.info("Discarding revoked task: %s[%s] (%s%s)", message.task, message.id, why, at)
        try:
            body = decode_body(message, self._accept)
        except DecodeError:  # it would have been buried; now it ends without being read
            body = Body([], {})
        if signals.task_revoked.receivers:
            signals.task_revoked.send(
                sender=self._app.tasks.get(message.task),
                request=context_of(message, body, hostname=self._hostname, queue=lease.queue),
                terminated=False,
                signum=None,
                expired=why == "expired",
            )
        record = revoked_record(
            self._app, message, body, why=why, queue=lease.queue, fence=lease.token, worker=self._hostname
        )
        return Commit(lease.token, Ack(), record)

    def _unknown(self, lease: Lease, message: Message) -> Commit:
        """In a rolling deploy the worker that knows the task may be seconds away, so it waits before it is buried."""
        now = self._app.clock.time()
        since = message.headers.get(UNKNOWN_SINCE)
        since = since if isinstance(since, (int, float)) else now
        wait_s = self._app.conf.unknown_task_wait
        if now - since >= wait_s:
            reason = f"no worker of queue {lease.queue} has had a task {message.task!r} for {timedelta(seconds=wait_s)}"
            logger.error("Buried task %s[%s]: %s", message.task, message.id, reason)
            return self._buried(lease, reason, NotRegistered(message.task))
        if message.task not in self._missed:
            if len(self._missed) >= _MOST_MISSED:  # names come from outside, and there may be any number of them
                self._missed.clear()
            self._missed.add(message.task)
            logger.error(
                "Received a task that is not registered here: %r. It waits up to %s for a worker that has it. "
                "Does this worker import the module that defines it?",
                message.task,
                timedelta(seconds=wait_s),
            )
        if signals.task_unknown.receivers:
            signals.task_unknown.send(
                sender=self._app, message=message, exc=NotRegistered(message.task), name=message.task, id=message.id
            )
        later = now + min(_UNKNOWN_PAUSE_S, since + wait_s - now)
        again = Outgoing(message.with_headers(**{UNKNOWN_SINCE: since}), lease.queue, later)
        return Commit(lease.token, Ack(), messages=(again,))


class LeasedRun(OneRun):
    """A run whose effects are committed under a lease."""

    def __init__(
        self,
        app: Celery,
        hostname: str,
        task: Task[..., Any],
        body: Body,
        lease: Lease,
        message: Message,
        keeper: Keeper,
    ) -> None:
        super().__init__(app, hostname, task, message.id, self._facts, body)
        headers = message.headers
        self.plain = headers.keys() <= _EVERYBODYS and not headers.get("ignore_result") and not any(body.embed.values())
        self._lease = lease
        self._message = message
        self._keeper = keeper

    def _facts(self) -> Context:
        lease = self._lease
        return context_of(
            self._message, self.body, hostname=self.hostname, queue=lease.queue, deliveries=lease.deliveries
        )

    def commit(self, outcome: Outcome) -> Commit:
        """All that the run caused."""
        return Commit(self._lease.token, outcome.settle, outcome.record, tuple(self.run.publish))

    def _token(self) -> int:
        return self._lease.token

    def store(self, record: Record) -> None:
        self._keeper.report(Commit(self._lease.token, Keep(), record))

    def record(self, document: Document) -> Record:
        return Record(document.task_id, self.app.encode_document(document), self._ttl_s(document), self._lease.token)

    def repeat(self, again: Again) -> None:
        self._retried = True
        self.run.publish[:] = [
            one for one in self.run.publish if one.message.id != self.id
        ]  # asked for twice, the last counts
        self.run.publish.append(self._repetition(again))

    def _repetition(self, again: Again) -> Outgoing:
        options, message = dict(again.options), self._message
        options["countdown"] = options.get("countdown") or None  # 0 is at once, not "at this time"
        eta, expires = moments(options, self.app)
        changes: dict[str, Any] = {
            "retries": again.retries,
            "eta": eta.isoformat() if eta else None,
            **_FRESH,
            **(options.get("headers") or {}),
        }
        if expires is not None:
            changes["expires"] = expires.isoformat()
        if "time_limit" in options or "soft_time_limit" in options:
            hard = options.get("time_limit", self.context.time_limit)
            soft = options.get("soft_time_limit", self.context.soft_time_limit)
            changes["timelimit"] = [hard, soft]
        if options.get("shadow") is not None:
            changes["shadow"] = options["shadow"]
        message = message.with_headers(**changes)
        body = self._changed_body(again)
        if body is not None or options.get("serializer") is not None:
            serializer = options.get("serializer") or name_of(message.content_type)
            compression = options.get("compression") or message.headers.get("compression")
            message = message.with_body(encode_arguments(self.task.name, body or self.body, serializer, compression))
        if options.get("priority") is not None:
            message = message.with_priority(options["priority"])
        route = {name: options[name] for name in ("queue", "exchange", "routing_key") if options.get(name) is not None}
        queue = self._lease.queue
        if route:
            queue = self.app.route(route, self.task.name, self.body.args, self.body.kwargs, self.task)["queue"]
        return check_writable(Outgoing(message, queue, eta.timestamp() if eta else None))

    def _changed_body(self, again: Again) -> Body | None:
        embed = dict(self.body.embed)
        for option, name in (("link", "callbacks"), ("link_error", "errbacks")):
            if option in again.options:
                embed[name] = signatures(option, again.options[option])
        if again.args is None and embed == self.body.embed:
            return None
        if again.args is None:
            return Body(self.body.args, self.body.kwargs, embed)
        return Body(again.args, again.kwargs or {}, embed)

    def follow(self, signature: Signature[Any], args: Sequence[Any]) -> None:
        merged_args, kwargs, options = signature.merged(args, {}, {})
        if self.app.conf["task_inherit_parent_priority"]:
            options.setdefault("priority", (self.context.delivery_info or {}).get("priority"))
        task = self.app.tasks.get(signature.task)
        outgoing = make_outgoing(self.app, signature.task, list(merged_args), dict(kwargs), options, task)
        self.run.publish.append(check_writable(outgoing))
        if self.task.trail and outgoing.message.id != self.id:
            self.context.children.append(self.app.AsyncResult(outgoing.message.id))

    def drop_what_follows(self) -> None:
        dropped = {one.message.id for one in self.run.publish}
        self.context.children[:] = [child for child in self.context.children if child.id not in dropped]
        self.run.publish.clear()

    def give_back(self) -> Settle:
        # To the tail: at its head it would keep the queue to itself. A requeue would either not tell the next run or count
        # as a crash.
        self.run.publish.append(
            Outgoing(self._message.with_headers(**{**_FRESH, "redelivered": True}), self._lease.queue)
        )
        return Ack()


def context_of(message: Message, body: Body, *, hostname: str, queue: str, deliveries: int = 1) -> Context:
    """The facts of a run, from its message."""
    headers = message.headers
    facts: dict[str, Any] = {
        "id": message.id,
        "task": message.task,
        "args": body.args,
        "kwargs": body.kwargs,
        "retries": message.retries,
        "root_id": headers.get("root_id") or message.id,
        "hostname": hostname,
        "correlation_id": message.id,
        "ignore_result": bool(headers.get("ignore_result")),
        "called_directly": False,
        "delivery_info": {
            "exchange": "",
            "routing_key": queue,
            "priority": message.priority,
            # The header is Celery's, of a message that one of its workers had taken and has given back.
            "redelivered": deliveries > 1 or headers.get("redelivered") is True,
        },
        "properties": message.properties,
    }
    custom: dict[str, Any] = {}
    for name in headers.keys() - _STANDARD:
        (facts if name in _FACTS else custom)[name] = headers[name]
    if custom:
        facts["headers"] = custom
    if any(body.embed.values()):
        facts |= {name: value for name, value in body.embed.items() if name in _EMBEDDED}
    if facts.get("replaced_task_nesting", 0) is None:
        del facts["replaced_task_nesting"]
    if facts.get("timelimit"):
        facts["time_limit"], facts["soft_time_limit"] = [*facts["timelimit"], None, None][:2]
    if "reply_to" in message.properties:
        facts["reply_to"] = message.properties["reply_to"]
    return Context.of(facts)


def _refuse_workflows(body: Body) -> None:
    """Running the task and dropping what should follow it would lose that without a word."""
    follow = [name for name in ("chain", "chord") if body.embed.get(name)]
    if follow:
        raise DecodeError(
            f"the message has a {' and a '.join(follow)}, which this version of celeriac cannot go on with; "
            "a Celery worker can: keep workflows on a queue of their own, or send it without"
        )
