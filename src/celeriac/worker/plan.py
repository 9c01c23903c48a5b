"""What a worker is to do: asked for on the command line, completed by the application's settings.

The supervisor imports no application. The template does, and sends the finished `Plan` back: everything the supervisor
needs of the settings.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from celeriac.app import Celery
from celeriac.documents import Document
from celeriac.engines import open_broker, open_results
from celeriac.engines.base import Broker, EngineOptions, Node, ResultStore
from celeriac.exceptions import ConfigError
from celeriac.worker.logs import LogSettings
from celeriac.worker.names import node_name
from celeriac.worker.policies import policies
from celeriac.worker.pools import POOLS
from celeriac.worker.processors import available_processors
from celeriac.worker.recovery import Policy

__all__ = ["Plan", "Wishes", "make_plan", "new_node_id"]


class Wishes(msgspec.Struct, frozen=True):
    """The command line's part. None means: as the application's settings say."""

    app: str
    #: A module of settings that win over the application's.
    config: str | None = None
    #: No banner.
    quiet: bool = False
    hostname: str | None = None
    queues: tuple[str, ...] = ()
    excluded_queues: tuple[str, ...] = ()
    purge: bool = False
    concurrency: int | None = None
    pool: str | None = None
    loglevel: str = "WARNING"
    logfile: str | None = None
    settings: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Plan(msgspec.Struct, frozen=True):
    """The whole of it."""

    wishes: Wishes
    app_name: str
    tasks: tuple[str, ...]
    queues: tuple[str, ...]
    concurrency: int
    pool: str
    hostname: str
    node_id: str
    broker_url: str
    broker_options: EngineOptions
    result_url: str | None
    result_options: EngineOptions
    log: LogSettings
    redirect_level: str | None
    acks_late: bool
    max_deliveries: int
    failure_ttl_s: float | None
    result_serializer: str
    result_compression: str | None
    lease_s: float
    grace_s: float
    dead_max_age_s: float
    dead_max_size: int
    #: After so many runs, or with so much memory, a child is replaced.
    most_runs: int | None = None
    most_memory_kib: int | None = None
    max_interruptions: int = 100
    #: What tasks want done with their lost runs, by name, where that is not the usual.
    policies: Mapping[str, Policy] = msgspec.field(default_factory=dict)

    @property
    def children(self) -> list[str]:
        """The names of the processes that run tasks."""
        return POOLS[self.pool].children(self.concurrency)

    @property
    def slots(self) -> int:
        """How many tasks each of them runs at a time."""
        return POOLS[self.pool].slots(self.concurrency)

    @property
    def slots_share_process(self) -> bool:
        """Whether ending a child would end other runs with it."""
        return POOLS[self.pool].one_child

    def node(self) -> Node:
        """How this worker introduces itself; `pid` is the calling process's."""
        return Node(
            self.node_id,
            self.hostname,
            socket.gethostname(),
            os.getpid(),
            self.pool,
            self.concurrency,
            self.queues,
            self.lease_s,
        )

    def open_broker(self) -> Broker:
        """The broker, for the supervisor, which has no application.

        No call of it takes as long as the lease, which it renews: one that hangs must leave time for others.
        """
        return open_broker(self.broker_url, self._hasty(self.broker_options))

    def open_results(self, broker: Broker) -> ResultStore:
        """The result store that goes with it."""
        if self.result_url is None:
            return broker.result_store()
        return open_results(self.result_url, self._hasty(self.result_options))

    def encode_document(self, document: Document) -> bytes:
        """For the supervisor, where a serializer that the application has registered is not known: JSON then.

        Who reads that is told that it cannot be read, and waits no longer.
        """
        try:
            return document.encode(self.result_serializer, self.result_compression)
        except ConfigError:
            return document.encode()

    def _hasty(self, options: EngineOptions) -> EngineOptions:
        return replace(options, timeout_s=min(options.timeout_s, self.lease_s / 4))


def new_node_id() -> str:
    """One that was never used and never will be."""
    return uuid.uuid4().hex


def make_plan(wishes: Wishes, app: Celery) -> Plan:
    """Complete the wishes by the application's settings, which those of the wishes are part of; raises `ConfigError`."""
    conf = app.conf
    pool = wishes.pool or conf.worker_pool
    concurrency = wishes.concurrency or conf.worker_concurrency or available_processors()
    if pool == "solo":
        concurrency = 1
    plan = Plan(
        wishes=wishes,
        app_name=app.main or wishes.app,
        tasks=tuple(sorted(app.tasks)),
        queues=_queues(wishes, app),
        concurrency=concurrency,
        pool=pool,
        hostname=node_name(wishes.hostname),
        node_id=new_node_id(),
        broker_url=app.stores.broker_url,
        broker_options=app.stores.broker_options,
        result_url=app.stores.results_url,
        result_options=app.stores.results_options,
        log=LogSettings(
            level=wishes.loglevel,
            line_format=conf.worker_log_format,
            task_format=conf.worker_task_log_format,
            logfile=wishes.logfile,
            date_format=conf.worker_log_datefmt,
            task_date_format=conf.worker_task_log_datefmt,
            colour=conf.worker_log_color,
            take_root=conf.worker_hijack_root_logger,
        ),
        redirect_level=conf.worker_redirect_stdouts_level if conf.worker_redirect_stdouts else None,
        acks_late=conf.task_acks_late,
        max_deliveries=conf.max_deliveries,
        failure_ttl_s=app.failure_ttl_s,
        result_serializer=conf.result_serializer,
        result_compression=conf.result_compression,
        lease_s=float(conf.worker_lease),
        grace_s=float(conf.worker_shutdown_grace),
        dead_max_age_s=float(conf.dead_letter_max_age),
        dead_max_size=conf.dead_letter_max_size,
        most_runs=conf.worker_max_tasks_per_child,
        most_memory_kib=conf.worker_max_memory_per_child,
        max_interruptions=conf.max_interruptions,
        policies=policies(app),
    )
    if pool == "solo":
        _check_solo(app)
    if app.broker.describe() == ":memory:" and pool != "solo":
        raise ConfigError(
            ":memory: serves one process only: start the worker with -P solo, or name a file in broker_url"
        )
    return plan


def _queues(wishes: Wishes, app: Celery) -> tuple[str, ...]:
    queues = app.router.queues
    return queues.select(wishes.queues).deselect(wishes.excluded_queues).selected


def _check_solo(app: Celery) -> None:
    """What needs a process that can be ended is refused."""
    limited = "setting task_time_limit" if app.conf.task_time_limit else None
    for name, task in sorted(app.tasks.items()):
        if limited is None and getattr(task, "time_limit", None):
            limited = f"task {name}"
    if limited is not None:
        raise ConfigError(
            f"{limited} has a hard time limit, and -P solo has no process of its own to end: "
            "use another pool (-P prefork -c 1), or a soft time limit"
        )
