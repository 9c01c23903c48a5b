"""What a worker is to do: asked for on the command line, completed by the application's settings.

The supervisor imports no application. The template does, and sends the finished `Plan` back: everything the supervisor
needs of the settings.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from celeriac.app import Celery
from celeriac.engines import DEFAULT_URL, open_broker, open_results
from celeriac.engines.base import Broker, EngineOptions, Node, ResultStore
from celeriac.exceptions import ConfigError

__all__ = ["Plan", "Wishes", "make_plan"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """The command line's part. None means: as the application's settings say."""

    app: str
    workdir: str | None = None
    hostname: str | None = None
    queues: tuple[str, ...] = ()
    excluded_queues: tuple[str, ...] = ()
    purge: bool = False
    concurrency: int | None = None
    pool: str | None = None
    loglevel: str = "WARNING"
    logfile: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
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
    log_format: str
    redirect_level: str | None
    acks_late: bool
    max_deliveries: int
    result_ttl_s: float | None
    lease_s: float
    grace_s: float
    dead_max_age_s: float
    dead_max_size: int

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

    def _hasty(self, options: EngineOptions) -> EngineOptions:
        return replace(options, timeout_s=min(options.timeout_s, self.lease_s / 4))


def make_plan(wishes: Wishes, app: Celery) -> Plan:
    """Complete the wishes by the application's settings; raises `ConfigError`."""
    app.conf.update(wishes.settings)
    conf = app.conf
    pool = wishes.pool or conf.worker_pool
    concurrency = wishes.concurrency or conf.worker_concurrency or os.cpu_count() or 1
    if pool == "solo":
        concurrency = 1
    broker_url = conf.broker_url or DEFAULT_URL
    timeout_s = float(conf.broker_connection_timeout)
    plan = Plan(
        wishes=wishes,
        app_name=app.main or wishes.app,
        tasks=tuple(sorted(app.tasks)),
        queues=wishes.queues or (conf.task_default_queue,),
        concurrency=concurrency,
        pool=pool,
        hostname=_host_name(wishes.hostname),
        node_id=uuid.uuid4().hex,
        broker_url=broker_url,
        broker_options=EngineOptions(app.folder, timeout_s, conf.broker_transport_options),
        result_url=app.results_url,
        result_options=EngineOptions(app.folder, timeout_s, conf.result_backend_transport_options),
        log_format=conf.worker_log_format,
        redirect_level=conf.worker_redirect_stdouts_level if conf.worker_redirect_stdouts else None,
        acks_late=conf.task_acks_late,
        max_deliveries=conf.max_deliveries,
        result_ttl_s=app.result_ttl_s,
        lease_s=float(conf.worker_lease),
        grace_s=float(conf.worker_shutdown_grace),
        dead_max_age_s=float(conf.dead_letter_max_age),
        dead_max_size=conf.dead_letter_max_size,
    )
    if app.broker.describe() == ":memory:" and pool != "solo":
        raise ConfigError(
            ":memory: serves one process only: start the worker with -P solo, or name a file in broker_url"
        )
    return plan


def _host_name(wanted: str | None) -> str:
    """The worker's name; %h, %n and %d stand for the host's full name, its first part, and its domain."""
    host = socket.gethostname()
    first, _, domain = host.partition(".")
    name = (wanted or "celery@%h").replace("%h", host).replace("%n", first).replace("%d", domain)
    return name if "@" in name else f"{name}@{host}"
