"""What only the demo needs: workers at the press of a button, and a look at what goes on behind the page."""

import asyncio
import threading
import time
from collections import deque
from typing import Any, Self

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from celeriac import states
from celeriac.documents import Document
from celeriac.insights import Overview, overview
from examples.shared.worker import Worker
from examples.studio.app import HOME, app
from examples.studio.studio import Studio

__all__ = ["Backstage"]

MOST_WORKERS = 4
SHOWN = 6
# The store forgets a dead worker as soon as another has taken over from it; people want to see that it is gone.
MOURNED_S = 5.0


class Backstage:
    """Starts and kills workers as anybody would, by the command line and with SIGKILL; ends them with the block."""

    def __init__(self, smtp_port: int) -> None:
        self._smtp_port = smtp_port
        self._workers: dict[str, Worker] = {}
        self._starting = threading.Lock()  # two clicks at one time must not both start "worker-2"
        self._killed: dict[str, float] = {}
        self._ended: set[str] = set()
        self._latest: deque[dict[str, str]] = deque(maxlen=SHOWN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.ask_to_stop()
        for worker in self._workers.values():
            worker.stop()

    def start_worker(self) -> str | None:
        """Start one more; its name, or None if these are enough."""
        with self._starting:
            if sum(worker.running for worker in self._workers.values()) >= MOST_WORKERS:
                return None
            name, port = f"worker-{len(self._workers) + 1}", str(self._smtp_port)
            worker = Worker("examples.studio.tasks", HOME / f"{name}.log", "-n", f"{name}@%h", STUDIO_SMTP_PORT=port)
            worker.start()
            self._workers[name] = worker
        return name

    def kill_worker(self, name: str) -> bool:
        """As a power cut would; False if there is none of that name."""
        worker = self._workers.get(name)
        if worker is None:
            return False
        self._killed[name] = time.monotonic()
        worker.kill()
        return True

    def routes(self) -> list[BaseRoute]:
        """The buttons of the panel."""

        async def start(_: Request) -> Response:
            return Response(status_code=202 if await asyncio.to_thread(self.start_worker) else 409)

        async def kill(request: Request) -> Response:
            killed = await asyncio.to_thread(self.kill_worker, request.path_params["name"])
            return Response(status_code=202 if killed else 404)

        return [
            Route("/workers", start, methods=["POST"]),
            Route("/workers/{name}", kill, methods=["DELETE"]),
        ]

    def look(self, studio: Studio) -> dict[str, Any]:
        """Queues, workers, what runs and what has ended lately. Talks to the store, so it is called in a thread."""
        seen = overview(app)
        # The event loop goes on meanwhile and may add to them.
        labels, known = dict(studio.labels), dict(studio.known)
        running = [known[one] for one in labels if one in known and known[one].status in {states.STARTED, "PROGRESS"}]
        for task_id, label in labels.items():
            ended = task_id in known and known[task_id].ready
            if ended and task_id not in self._ended:
                self._ended.add(task_id)
                self._latest.appendleft({"what": label, "state": known[task_id].status})
            elif not ended:
                self._ended.discard(task_id)
        return {
            "store": seen.store.partition(":")[0],
            "running": [{"what": labels[one.task_id], "on": self._where(one)} for one in running[:SHOWN]],
            "latest": list(self._latest),
            "queues": [
                {**queue, "name": queue["name"].removeprefix("studio."), "oldest": None}
                for queue in seen.as_dict()["queues"]
                if queue["name"] in app.conf.task_queues
            ],
            "workers": self._drawn_workers(seen),
        }

    def _where(self, document: Document) -> str:
        worker = _short(document.result["hostname"])
        return "moves over" if worker in self._killed else worker

    def _drawn_workers(self, seen: Overview) -> list[dict[str, Any]]:
        drawn = {
            name: {"name": name, "alive": False, "slots": 0, "busy": 0, "ours": True}
            for name, killed in list(self._killed.items())
            if time.monotonic() - killed < MOURNED_S
        }
        for one in seen.workers:
            name, slots = _short(one.node.name), one.node.concurrency
            alive = one.alive and name not in self._killed
            busy = min(one.leased, slots)
            drawn[name] = {"name": name, "alive": alive, "slots": slots, "busy": busy, "ours": name in self._workers}
        return [drawn[name] for name in sorted(drawn)]


def _short(hostname: str) -> str:
    return hostname.partition("@")[0]
