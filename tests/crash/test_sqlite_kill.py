"""kill -9 of producers, children, supervisors and whole workers while all of them write to one SQLite file."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from conformance.peer import Peer
from support.audit import TASKS, Audit
from support.processes import needs_proc
from support.project import Client, Project
from support.senders import integrity, send_for_ever
from support.waiting import until
from support.worker import WorkerProcess

_KILLS = int(os.environ.get("CELERIAC_KILLS", "110" if os.environ.get("CELERIAC_CRASH") == "long" else "10"))

pytestmark = needs_proc


class Scene:
    """A worker and two producers, and whoever replaces them."""

    def __init__(self, project: Project, audit: Audit, stack: ExitStack) -> None:
        self._project, self._audit, self._stack = project, audit, stack
        self.logs: list[Path] = []
        self.workers: list[WorkerProcess] = []
        self.start_worker()
        self.producers = [self.start_producer() for _ in range(2)]

    def start_worker(self) -> None:
        worker = self._project.worker("-c", 2, **self._audit.environment)
        self.workers.append(self._stack.enter_context(worker))

    def start_producer(self) -> Peer:
        log = self._project.folder / f"sent-{len(self.logs)}"
        log.touch()
        self.logs.append(log)
        producer = self._stack.enter_context(Peer("sqlite://", str(self._project.folder)))
        producer.begin(
            send_for_ever, f"sqlite:///{self._project.store}", "tasks.work", str(log), len(self.logs) * 1_000_000
        )
        return producer

    def sent(self) -> dict[str, int]:
        """What producers were told is stored: task ids, and the numbers that the tasks were called with."""
        lines = [line.split() for log in self.logs for line in log.read_text().splitlines()]
        return {task_id: int(number) for task_id, number in lines}

    def kill(self, what: str, dice: random.Random) -> None:
        worker = self.workers[-1]
        match what:
            case "producer":
                place = dice.randrange(len(self.producers))
                self.producers[place].kill()
                self.producers[place] = self.start_producer()
            case "child":
                os.kill(dice.choice(until(worker.children, "some child lives")), signal.SIGKILL)
            case "supervisor":
                worker.tell(signal.SIGKILL)
                worker.wait()
                self.start_worker()
            case "worker":
                worker.kill()
                self.start_worker()


@pytest.mark.timeout(120 + 4 * _KILLS)
def test_a_store_outlives_whoever_writes_to_it(
    project: Project, client: Client, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    seed = int(os.environ.get("CELERIAC_SEED", random.randrange(1_000_000)))
    print(f"CELERIAC_SEED={seed}")
    dice = random.Random(seed)
    # Not what is tested here: a task may be unlucky at every other kill.
    project.write("tasks", TASKS + "\napp.conf.max_deliveries = 1000\napp.conf.worker_lease = 1.5\n")
    audit = Audit(project.folder)
    with ExitStack() as stack:
        scene = Scene(project, audit, stack)
        for _ in range(_KILLS):
            begun = len(audit.read().started)
            wanted = begun + dice.randint(1, 60)
            audit.wait_until(lambda runs, wanted=wanted: len(runs.started) >= wanted, f"{wanted} tasks have begun")
            scene.kill(dice.choice(["producer", "child", "supervisor", "worker"]), dice)
        for producer in scene.producers:
            producer.kill()
        worker = scene.workers[-1].wait_until_ready()
        sent = scene.sent()
        results = client.app.broker.result_store()
        until(lambda: len(results.get(sent)) == len(sent), "all that was sent has ended", timeout_s=60, every_s=0.1)
        until(
            lambda: client.queue().ready + client.queue().leased == 0,
            "what was sent in the moment of a kill has ended too",
        )
        _assert_swept(project, client)
        assert worker.stop() == 0
    assert client.app.broker.dead() == []
    documents = [json.loads(document) for document in results.get(sent).values()]
    assert {document["task_id"]: document["result"] for document in documents} == sent
    assert integrity(None, str(project.store)) == "ok"
    with sqlite3.connect(project.store) as connection:
        for table in ("messages", "ready", "delayed", "leased", "nodes", "past"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    connection.close()
    again = len(audit.read().repeated)
    figure(
        f"{_KILLS} kills of producers, children, supervisors, workers: {len(sent)} sent, 0 lost, {again} ran again ({seed=})"
    )


def _assert_swept(project: Project, client: Client) -> None:
    """The bells and locks of the dead go, when they are old enough not to be somebody's who is just starting."""
    folders = [project.store.with_name(f"{project.store.name}-{name}") for name in ("bells", "nodes")]
    for folder in folders:
        for path in folder.iterdir():
            os.utime(path, (1, 1))
    client.app.broker.close()  # one's own bell, if there is one, goes at once
    (alive,) = [state.node.id for state in client.app.broker.nodes()]
    until(lambda: [path.stem for path in folders[1].iterdir()] == [alive], "locks of the dead are swept")
    until(lambda: len(list(folders[0].iterdir())) <= 4, "bells of the dead are swept")
