"""Revoked tasks, on each store and in each pool: what waits, what runs, what comes later, and what has ended."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from celeriac import AsyncResult, Celery
from celeriac.engines.redis import RedisBroker
from celeriac.exceptions import TaskRevokedError
from support.behaviour import PLACES, STORES
from support.gate import Gate
from support.project import Project
from support.redis_server import RedisServer
from support.waiting import until
from support.worker import WorkerProcess

_TASKS = """
import asyncio
import ctypes
import os
import signal
import socket
import time

from celeriac import Celery, signals

app = Celery("tasks"{stores})
app.conf.task_routes = {{}}


def note(*words):
    file = os.open({notes!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, " ".join(map(str, words)).encode() + b"\\n")
    os.close(file)


def at_gate(port, word=""):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{{os.getpid()}} {{word}}\\n".encode())
        connection.recv(1)


@signals.task_revoked.connect
def revoked(sender, request, terminated, signum, expired, **rest):
    note("revoked", sender.name, request.id, terminated, signum, expired)


@app.task
def add(x, y):
    note("ran", x, y)
    return x + y


@app.task
def quick(x):
    return x


@app.task(bind=True)
def nap(self, for_s):
    note("napping", self.request.id)
    time.sleep(for_s)
    return for_s


@app.task
def hold(port, word=""):
    at_gate(port, word)
    return word


@app.task(acks_late=False)
def once(word):
    note("ran", word)


@app.task(bind=True, max_retries=5)
def again(self, port):
    at_gate(port, "again")
    raise self.retry(countdown=3600)


@app.task(bind=True, max_retries=5)
def again_now(self, port):
    at_gate(port, "again")
    raise self.retry(countdown=0)


@app.task
def spin(port):
    at_gate(port, "spin")
    try:
        while True:
            time.sleep(0.01)
    except Exception:
        note("caught")
    finally:
        note("cleaned up")


@app.task
async def aspin(port):
    await asyncio.to_thread(at_gate, port, "aspin")
    try:
        await asyncio.sleep(600)
    finally:
        note("cleaned up")


@app.task(soft_time_limit=300)
async def limited(port):
    await asyncio.to_thread(at_gate, port, "limited")
    try:
        await asyncio.sleep(600)
    finally:
        note("cleaned up")


@app.task
def blocked(port):
    at_gate(port, "blocked")
    ctypes.PyDLL(None).sleep(600)


@app.task
def own_handler(port):
    signal.signal(signal.SIGTERM, lambda *_: note("own handler"))
    at_gate(port, "own_handler")
    while True:
        time.sleep(0.01)


@app.task
def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass
class Place:
    """A store, a project whose worker serves it, and a client."""

    project: Project
    app: Celery
    pool: str

    def worker(self, *options: Any) -> WorkerProcess:
        return self.project.worker("-P", self.pool, "-c", 2, *options)

    def send(self, task: str, *args: Any, **options: Any) -> AsyncResult[Any]:
        return self.app.send_task(f"tasks.{task}", args, **options)

    def notes(self, word: str) -> list[str]:
        path = self.project.folder / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(word)]

    def leased(self) -> int:
        return sum(state.leased for state in self.app.broker.queues())

    def lies(self) -> int:
        """How many messages are anywhere."""
        return sum(state.ready + state.delayed + state.leased + state.dead for state in self.app.broker.queues())


@contextmanager
def _place(name: str, folder: Path) -> Iterator[Place]:
    store, _, pool = name.partition("-")
    with ExitStack() as stack:
        url, stores = f"sqlite:///{folder}/.celeriac/celeriac.db", ""
        if store == "redis":
            url = stack.enter_context(RedisServer(folder / "redis")).url()
            stores = f", broker={url!r}, backend={url!r}"
        project = Project(folder)
        project.write("tasks", _TASKS.format(stores=stores, notes=str(folder / "notes")))
        app = stack.enter_context(Celery("client", broker=url))
        yield Place(project, app, pool)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with _place(request.param, tmp_path) as place:
        yield place


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with _place(request.param, tmp_path) as place:
        yield place


def assert_revoked(result: AsyncResult[Any], why: str = "revoked") -> None:
    error = result.get(timeout=30, propagate=False)
    assert isinstance(error, TaskRevokedError), error
    assert str(error) == why
    assert result.state == "REVOKED"


# ── what waits ──


def test_what_waits_is_taken_out_at_once_without_any_worker(store: Place) -> None:
    ready, delayed, kept = store.send("add", 1, 1), store.send("add", 1, 2, countdown=3600), store.send("add", 1, 3)
    store.app.control.revoke([ready.id, delayed.id])
    assert_revoked(ready)
    assert_revoked(delayed)
    assert store.lies() == 1
    with store.worker():
        assert kept.get(timeout=30) == 4
    assert store.notes("ran") == ["ran 1 3"]


def test_a_worker_that_starts_later_honours_what_was_revoked_before_it_was_sent(store: Place) -> None:
    store.app.control.revoke("known-id")
    result, later = store.send("add", 1, 1, task_id="known-id"), store.send("add", 2, 2)
    with store.worker() as worker:
        assert later.get(timeout=30) == 4
        assert_revoked(result)
        until(lambda: store.notes("revoked"), "the signal is sent")
        assert worker.stop() == 0
    assert store.notes("revoked") == ["revoked tasks.add known-id False None False"]
    assert store.notes("ran") == ["ran 2 2"]
    assert store.lies() == 0


def test_what_has_ended_keeps_its_result(store: Place) -> None:
    with store.worker():
        result = store.send("add", 1, 1)
        assert result.get(timeout=30) == 2
        result.revoke(terminate=True)
        assert store.send("quick", 5).get(timeout=30) == 5
        assert (AsyncResult(result.id, app=store.app).state, result.result) == ("SUCCESS", 2)


def test_what_is_revoked_and_taken_back_runs_again(store: Place) -> None:
    store.app.control.revoke("some-id")
    assert store.app.control.unrevoke("some-id") == 1
    with store.worker():
        assert store.send("add", 1, 1, task_id="some-id").get(timeout=30) == 2


def test_an_at_most_once_task_that_is_revoked_does_not_run(store: Place) -> None:
    store.app.control.revoke("some-id")
    result = store.send("once", "word", task_id="some-id")
    with store.worker():
        assert_revoked(result)
    assert store.notes("ran") == []
    assert store.lies() == 0


def test_a_retry_that_waits_is_taken_out(store: Place, gate: Gate) -> None:
    with store.worker():
        result = store.send("again", gate.port)
        gate.arrival().open()
        until(lambda: result.state == "RETRY", "it waits to be tried again")
        result.revoke()
        assert_revoked(result)
        assert store.lies() == 0


def test_a_run_that_goes_on_to_retry_itself_is_stopped_there(store: Place, gate: Gate) -> None:
    with store.worker():
        result = store.send("again_now", gate.port)
        arrival = gate.arrival()
        result.revoke()
        arrival.open()
        assert_revoked(result)
        assert store.lies() == 0


def test_a_claimed_task_that_has_not_begun_does_not_begin(place: Place, gate: Gate) -> None:
    """One slot has taken both. The second goes back when the first takes long, and is claimed as a revoked one."""
    with place.project.worker("-P", place.pool, "-c", 1) as worker:
        worker.wait_until_ready()
        for _ in range(20):
            assert place.send("quick", 1).get(timeout=30) == 1  # so that it takes more than one at a time
        first, second = place.send("hold", gate.port), place.send("add", 1, 1)
        arrival = gate.arrival()
        second.revoke()
        until(lambda: place.leased() == 1, "only what runs is leased")
        arrival.open()
        assert first.get(timeout=30) == ""
        assert_revoked(second)
        assert place.notes("ran") == []


def test_what_was_in_a_crash_and_is_revoked_does_not_run_again(store: Place, gate: Gate) -> None:
    with store.worker() as worker:
        result = store.send("hold", gate.port)
        arrival = gate.arrival()
        result.revoke()
        os.kill(arrival.pid, signal.SIGKILL)
        assert_revoked(result)
        assert gate.stays_empty(0.3)
        assert worker.log.count("will run again") == 1
        assert store.lies() == 0


# ── what runs ──


@pytest.mark.parametrize("task", ["spin", "aspin", "limited"])
def test_terminate_ends_a_run_in_every_pool(place: Place, gate: Gate, task: str) -> None:
    with place.worker() as worker:
        result = place.send(task, gate.port)
        gate.arrival().open()
        other = place.send("hold", gate.port) if place.pool != "solo" else None
        beside = gate.arrival() if other is not None else None
        result.revoke(terminate=True)
        assert_revoked(result, "terminated")
        if other is not None and beside is not None:
            beside.open()
            assert other.get(timeout=30) == ""
        assert place.send("add", 2, 2).get(timeout=30) == 4
        assert worker.stop() == 0
    assert place.notes("revoked") == [f"revoked tasks.{task} {result.id} True {int(signal.SIGTERM)} False"]
    assert place.notes("caught") == []
    assert place.notes("cleaned up") == ["cleaned up"]
    assert place.lies() == 0


def test_terminate_ends_what_is_in_code_of_c(store: Place, gate: Gate) -> None:
    with store.worker() as worker:
        result = store.send("blocked", gate.port)
        gate.arrival().open()
        store.app.control.terminate(result.id)
        assert_revoked(result, "terminated")
        assert store.send("add", 2, 2).get(timeout=30) == 4
        assert worker.stop() == 0
    assert store.notes("revoked") == [f"revoked tasks.blocked {result.id} True {int(signal.SIGTERM)} False"]
    assert store.lies() == 0


def test_a_run_that_handles_the_signal_has_its_say_and_ends_all_the_same(store: Place, gate: Gate) -> None:
    with store.worker():
        result = store.send("own_handler", gate.port)
        gate.arrival().open()
        result.revoke(terminate=True)
        assert_revoked(result, "terminated")
    assert store.notes("own handler") == ["own handler"]


def test_the_signal_that_was_asked_for_is_sent(store: Place, gate: Gate) -> None:
    with store.worker() as worker:
        result = store.send("blocked", gate.port)
        gate.arrival().open()
        result.revoke(terminate=True, signal="KILL")
        assert_revoked(result, "terminated")
        worker.wait_for("is ended by SIGKILL: the task it runs was revoked")


def test_terminate_reaches_a_run_on_whichever_node(store: Place, gate: Gate) -> None:
    with store.project.worker("-n", "one@%h", "-c", 1) as one, store.project.worker("-n", "two@%h", "-c", 1) as two:
        one.wait_until_ready()
        two.wait_until_ready()
        first, second = store.send("spin", gate.port), store.send("spin", gate.port)
        gate.arrival().open()
        gate.arrival().open()
        store.app.control.terminate([first.id, second.id])
        assert_revoked(first, "terminated")
        assert_revoked(second, "terminated")
        assert one.stop() == two.stop() == 0
        assert [worker.log.count("the task it runs was revoked") for worker in (one, two)] == [1, 1]


def test_a_run_goes_on_when_it_is_revoked_without_terminate(store: Place, gate: Gate) -> None:
    with store.worker():
        result = store.send("hold", gate.port, "to its end")
        arrival = gate.arrival()
        result.revoke()
        time.sleep(1.2)  # two looks of the worker's
        arrival.open()
        assert result.get(timeout=30) == "to its end"


def test_a_termination_around_the_end_of_a_run_never_hits_the_next_one(place: Place) -> None:
    """A worker learns of it within half a second, and so long the runs take; others follow them in the same slots."""
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with place.worker() as worker:
        worker.wait_until_ready()
        ended = []
        for _ in range(4):
            victims = [place.send("nap", chance.uniform(0.2, 0.7)) for _ in range(2)]
            until(lambda victims=victims: place.notes(f"napping {victims[0].id}"), "one of them runs")
            followers = [place.send("nap", 0.01) for _ in range(20)]
            place.app.control.terminate([victim.id for victim in victims])
            ended += [victim.get(timeout=30, propagate=False) for victim in victims]
            assert [follower.get(timeout=30) for follower in followers] == [0.01] * 20
        assert worker.stop() == 0
    assert {type(value) for value in ended} <= {float, TaskRevokedError}
    assert place.lies() == 0


# ── what is left ──


def test_revocations_leave_nothing_behind_on_redis(tmp_path: Path) -> None:
    with _place("redis-prefork", tmp_path) as place:
        broker = place.app.broker
        assert isinstance(broker, RedisBroker)
        place.app.control.revoke("a", expires=1, terminate=True)
        place.app.control.revoke("b", expires=0.5)
        keys: Callable[[], Any] = lambda: broker.client.call("KEYS", "celeriac:revoked*")  # noqa: E731
        assert len(keys()) == 3
        until(lambda: not keys(), "the keys have expired")


# ── in the middle of it ──


@pytest.mark.parametrize("stores", ["one store", "two stores"])
def test_what_is_revoked_while_it_is_claimed_either_runs_or_is_revoked(
    store: Place, tmp_path: Path, stores: str
) -> None:
    app, apart = store.app, f"sqlite:///{tmp_path}/results.db"
    if stores == "two stores":
        tasks = (store.project.folder / "tasks.py").read_text()
        store.project.write("tasks", tasks + f"\napp.conf.result_backend = {apart!r}\n")
        app = Celery("apart", broker=app.stores.broker_url, backend=apart)
    with store.worker() as worker, app:
        worker.wait_until_ready()
        add = app.task(name="tasks.add")(lambda x, y: None)
        results = add.delay_many([(number, 0) for number in range(600)])
        for start in range(0, 600, 20):
            app.control.revoke([result.id for result in results[start : start + 10]])
        states = []
        for result in results:
            result.get(timeout=60, propagate=False)
            states.append(result.state)
        assert worker.stop() == 0
    ran = sorted(int(line.split()[1]) for line in store.notes("ran"))
    assert ran == [number for number, state in enumerate(states) if state == "SUCCESS"]
    assert {state for number, state in enumerate(states) if number % 20 >= 10} == {"SUCCESS"}
    assert set(states) == {"SUCCESS", "REVOKED"}
    assert store.lies() == 0
