"""Celery's commands that this version does not have, and what to use in their place."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ELSEWHERE"]

ELSEWHERE: Mapping[str, str] = {
    "amqp": "there is no AMQP broker to talk to; `celeriac status` shows the queues, `celeriac purge` empties them",
    "beat": "there is no scheduler; send periodic tasks with `celeriac call` from cron or a systemd timer",
    "events": "workers send no task events; `celeriac status --json` has the figures, `worker -l INFO` a line for each task",
    "flower": "workers send no task events for Flower to show; use `celeriac status` and `celeriac dead list`",
    "graph": "`celeriac status` shows workers and their queues, and `--json` prints them for other programs",
    "inspect": "`celeriac status` shows workers, what they hold, and queues; `celeriac report` shows the tasks",
    "list": "`celeriac status` lists the queues",
    "logtool": "the worker's log has one line for each event, which grep reads",
    "migrate": "on Redis celeriac reads Celery's queues where they are, so start `celeriac worker` on the same broker",
    "multi": "start each worker by itself: `celeriac -A proj worker -D -n one@%h --pidfile %n.pid --logfile %n.log`, and "
    "stop it with `kill $(cat one.pid)`",
    "upgrade": "to rename old settings use Celery's own `celery upgrade settings` before the move",
}
