"""Mixed fleets: the released Celery 5.7 and celeriac on one Redis, as real processes, in both directions.

Both sides run the same module (fleet/fleet_tasks.py). Each has a worker with a queue of its own, named like the side, and
both serve the queue `shared`; a `pair` is one side's producer and the other side's worker.
"""

from __future__ import annotations

import base64
import datetime
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from support.gate import Gate
from support.processes import needs_proc
from support.redis_server import RedisServer
from support.waiting import until
from support.worker import WorkerProcess
from wire.fleet.sides import CELERIAC, CELERY, Database, Producer, need_peers

#: The first test may have to install Celery.
pytestmark = [pytest.mark.timeout(300), needs_proc]

OTHER = {CELERY: CELERIAC, CELERIAC: CELERY}
SHARED, NOBODYS = "shared", "nobodys"
#: What follows a queue's name in the key of its list of a priority.
STEPS = {step: f"\x06\x16{step}" for step in (3, 6, 9)}
AN_HOUR_S = 3600
UTC = datetime.UTC

VALUES = {
    "none": None,
    "true": True,
    "int": -42,
    "2**70": 2**70,
    "-2**70": -(2**70),
    "float": 0.1,
    "float large": 1e22,
    "text": "Zürich – Ĝis! 🥬",
    "text controls": 'quote " backslash \\ newline \n nul \x00 line separator \u2028',
    "text lone surrogate": "\ud800",
    "datetime": datetime.datetime(2026, 1, 2, 3, 4, 5),
    "datetime utc": datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    "datetime offset": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=-3.5))),
    "date": datetime.date(2026, 1, 2),
    "time": datetime.time(3, 4, 5, 678901),
    "decimal": Decimal("1.50"),
    "uuid": UUID("12345678-1234-4678-9234-567812345678"),
    "bytes": b"plain",
    "bytes empty": b"",
    "bytes utf-8": "Zürich".encode(),
    "bytes not utf-8": b"\xff\x00\xfe",
    "list empty": [],
    "dict empty": {},
    "nested": {"list": [1, [Decimal("2"), {"when": datetime.date(2026, 1, 2)}]], "raw": b"\xff", "none": None},
}


# ── who takes part ───────────────────────────────────────────────────────────────────────────────────────────────────


class Fleet:
    """Both sides at work on one database."""

    def __init__(self, database: Database, workers: dict[str, WorkerProcess], producers: dict[str, Producer]) -> None:
        self.database = database
        self.workers = workers
        self.producers = producers


class Pair:
    """One side's producer, and the other side's worker on its own queue."""

    def __init__(self, fleet: Fleet, producer: str, worker: str) -> None:
        self.database = fleet.database
        self.producer_side = producer
        self.producer = fleet.producers[producer]
        self.side = worker
        self.queue = worker
        self.worker = fleet.workers[worker]
        self.get, self.outcome, self.look = self.producer.get, self.producer.outcome, self.producer.look

    def send(self, task: str, *args: Any, **options: Any) -> str:
        return self.producer.send(task, *args, **{"queue": self.queue, **options})

    def run(self, task: str, *args: Any, **options: Any) -> Any:
        return self.get(self.send(task, *args, **options))


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server; tests that need one for themselves take a database of it."""
    need_peers()
    with RedisServer(tmp_path_factory.mktemp("redis")) as redis:
        yield redis


@pytest.fixture(scope="module")
def everyone(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """All four, started at the same time."""
    database = Database(redis, 0, tmp_path_factory.mktemp("fleet"))
    with ExitStack() as stack:
        stack.callback(database.close)
        workers = {side: stack.enter_context(database.worker(side, side, SHARED)) for side in (CELERY, CELERIAC)}
        producers = {side: stack.enter_context(database.producer(side)) for side in (CELERY, CELERIAC)}
        for worker in workers.values():
            worker.wait_until_ready()
        yield Fleet(database, workers, producers)


@pytest.fixture
def fleet(everyone: Fleet) -> Iterator[Fleet]:
    """All four; what the workers say meanwhile is shown if the test fails."""
    before = {side: len(worker.log) for side, worker in everyone.workers.items()}
    yield everyone
    for side, worker in everyone.workers.items():
        print(f"----- {side}'s worker\n{worker.log[before[side] :]}")


@pytest.fixture(params=[(CELERY, CELERIAC), (CELERIAC, CELERY)], ids=["celery-to-celeriac", "celeriac-to-celery"])
def pair(request: pytest.FixtureRequest, fleet: Fleet) -> Pair:
    return Pair(fleet, *request.param)


@pytest.fixture
def celery_to_celeriac(fleet: Fleet) -> Pair:
    return Pair(fleet, CELERY, CELERIAC)


@pytest.fixture
def celeriac_to_celery(fleet: Fleet) -> Pair:
    return Pair(fleet, CELERIAC, CELERY)


# ── calls and values ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_is_called_with_args_and_kwargs(pair: Pair) -> None:
    assert pair.run("add", 2, 3) == 5
    assert pair.run("add", 2) == 12
    assert pair.run("add", kwargs={"x": 2, "y": 3}) == 5
    assert pair.run("add", 2, kwargs={"y": 3}) == 5


def test_the_other_side_runs_it(pair: Pair) -> None:
    side, args, kwargs = pair.run("look_at", 1, "zwei", kwargs={"drei": [3]})
    assert (side, args, kwargs) == (pair.side, "(1, 'zwei')", "{'drei': [3]}")


def test_values_arrive_as_they_were_sent(pair: Pair) -> None:
    _, args, kwargs = pair.run("look_at", *VALUES.values(), kwargs=VALUES)
    assert args == repr(tuple(VALUES.values()))
    assert kwargs == repr(VALUES)


def test_values_come_back_as_they_were_returned(pair: Pair) -> None:
    ids = pair.producer.ask("send_many", "echo", [[value] for value in VALUES.values()], queue=pair.queue)
    values = pair.producer.ask("get_many", ids)
    assert {name: repr(value) for name, value in zip(VALUES, values, strict=True)} == {
        name: repr(value) for name, value in VALUES.items()
    }


def test_a_task_keeps_the_id_it_is_given(pair: Pair) -> None:
    assert pair.send("add", 2, 3, task_id=f"order-4711 to {pair.side}") == f"order-4711 to {pair.side}"
    assert pair.get(f"order-4711 to {pair.side}") == 5


def test_a_result_nobody_wants_is_not_stored(pair: Pair) -> None:
    unwanted = pair.send("echo", "nobody asks", ignore_result=True)
    pair.run("add", 1, 1)  # one at a time: when this has ended so has the other
    assert pair.database.document(unwanted) is None
    pair.worker.wait_for(rf"\[{unwanted}\] succeeded")


def test_the_task_decides_where_its_producer_does_not_know_it(celery_to_celeriac: Pair) -> None:
    unwanted = celery_to_celeriac.producer.ask("send_by_name", 2, "forgotten", queue=CELERIAC)
    wanted = celery_to_celeriac.producer.ask("send_by_name", 2, "add", [1, 1], queue=CELERIAC)
    assert celery_to_celeriac.get(wanted) == 2
    celery_to_celeriac.worker.wait_for(rf"\[{unwanted}\] succeeded")
    assert celery_to_celeriac.database.document(unwanted) is None


def test_compressed_arguments_are_read(celery_to_celeriac: Pair) -> None:
    text = "Zürich " * 300
    assert celery_to_celeriac.run("echo", text, compression="zlib") == text
    assert celery_to_celeriac.run("echo", text, compression="bzip2") == text


def test_protocol_1_is_read(celery_to_celeriac: Pair) -> None:
    def send(task: str, *args: Any, **options: Any) -> str:
        answer: str = celery_to_celeriac.producer.ask("send_by_name", 1, task, args, queue=CELERIAC, **options)
        return answer

    before = time.time()
    delayed = send("moment", countdown=1)
    assert celery_to_celeriac.get(send("look_at", 1, Decimal("2"), kwargs={"three": b"\xff"})) == [
        CELERIAC,
        "(1, Decimal('2'))",
        "{'three': b'\\xff'}",
    ]
    assert celery_to_celeriac.get(send("echo", "a" * 500, compression="zlib")) == "a" * 500
    assert celery_to_celeriac.get(send("flaky", 1, 0)) == 1
    assert celery_to_celeriac.outcome(send("fail", "own"))["name"] == "OutOfStock"
    assert celery_to_celeriac.outcome(send("add", 1, expires=-1))["state"] == "REVOKED"
    assert celery_to_celeriac.get(delayed) >= before + 1


# ── time and order ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_runs_after_its_countdown_or_eta(pair: Pair) -> None:
    before = time.time()
    eta = datetime.datetime.fromtimestamp(before + 1.5, UTC)
    delayed = pair.send("moment", countdown=1)
    later = pair.send("moment", eta=eta)
    assert pair.get(delayed) >= before + 1
    assert pair.get(later) >= before + 1.5


def test_an_expired_task_is_revoked_by_the_callers_own_class(pair: Pair) -> None:
    outcome = pair.outcome(pair.send("add", 2, 3, expires=-1))
    own = "celery.exceptions" if pair.producer_side == CELERY else "celeriac.exceptions"
    assert outcome["state"] == "REVOKED"
    assert (outcome["module"], outcome["name"], outcome["args"]) == (own, "TaskRevokedError", ("expired",))


def test_a_task_in_time_does_not_expire(pair: Pair) -> None:
    assert pair.run("add", 2, 3, expires=AN_HOUR_S) == 5


def test_priority_0_is_served_first_then_3_6_9(pair: Pair, gate: Gate) -> None:
    pair.send("hold", gate.port)
    arrival = gate.arrival()
    ids = [pair.send("mark", f"{pair.side}-{priority}", priority=priority) for priority in (9, 5, 0, 3, 7)]
    keys = [pair.queue + suffix for suffix in ("", *STEPS.values())]
    # Ours may have claimed ahead and gives back when it sees that the first takes long.
    until(lambda: [pair.database.command("LLEN", key) for key in keys] == [1, 2, 1, 1], "each is in its list")
    arrival.open()
    pair.producer.ask("get_many", ids)
    order = [word for word, _ in pair.database.lines() if word.startswith(pair.side)]
    assert order == [f"{pair.side}-{priority}" for priority in (0, 5, 3, 7, 9)]


@pytest.mark.parametrize("side", [CELERY, CELERIAC])
def test_both_put_a_priority_into_the_same_list(fleet: Fleet, side: str) -> None:
    queue = f"{NOBODYS}-{side}"
    for priority in range(10):
        fleet.producers[side].send("add", priority, priority=priority, queue=queue)
    found = {
        step: [
            (message["properties"].get("priority", 0), body_of(message)[0])
            for message in fleet.database.messages(queue + step)
        ]
        for step in ("", *STEPS.values())
    }
    assert found == {
        step: [(priority, [priority]) for priority in priorities]
        for step, priorities in zip(("", *STEPS.values()), ((0, 1, 2), (3, 4, 5), (6, 7, 8), (9,)), strict=True)
    }


# ── retries and failures ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_retried_task_is_RETRY_with_the_reason(pair: Pair) -> None:  # noqa: N802
    task = pair.send("flaky", 1, AN_HOUR_S)
    state, reason = until(lambda: [] if (seen := pair.look(task))[0] == "PENDING" else seen, "the first run has ended")
    assert (state, reason["name"], reason["args"]) == ("RETRY", "OutOfStock", ("SKU-1", 0))


def test_retries_are_counted_to_the_limit(pair: Pair) -> None:
    enough, too_many = pair.send("flaky", 2, 0), pair.send("flaky", 3, 0)
    assert pair.get(enough) == 2
    outcome = pair.outcome(too_many)
    assert (outcome["state"], outcome["name"], outcome["args"]) == ("FAILURE", "OutOfStock", ("SKU-1", 2))


def test_a_task_is_retried_from_one_side_to_the_other_and_back(pair: Pair) -> None:
    here, there = pair.side, OTHER[pair.side]
    route = [there, here, there]
    assert pair.run("hop", route, []) == [[here, 0], [there, 1], [here, 2], [there, 3]]


@pytest.mark.parametrize(
    ("kind", "module", "name", "args"),
    [
        ("builtin", "builtins", "FileNotFoundError", (2, "no such file")),
        ("bare", "builtins", "KeyError", ()),
        ("own", "fleet_tasks", "OutOfStock", ("SKU-1", 3)),
    ],
)
def test_a_failure_keeps_its_class_and_arguments(
    pair: Pair, kind: str, module: str, name: str, args: tuple[Any]
) -> None:
    outcome = pair.outcome(pair.send("fail", kind))
    assert outcome["state"] == "FAILURE"
    assert (outcome["module"], outcome["name"], outcome["args"]) == (module, name, args)


def test_a_class_that_the_caller_lacks_keeps_its_name_and_arguments(pair: Pair) -> None:
    outcome = pair.outcome(pair.send("fail", "surprise"))
    assert (outcome["state"], outcome["name"], outcome["args"]) == (
        "FAILURE",
        "Surprise",
        ("nobody", "expected", 2**70),
    )


def test_a_failure_brings_its_traceback(pair: Pair) -> None:
    trace = pair.outcome(pair.send("fail", "own"))["traceback"]
    assert trace.startswith("Traceback (most recent call last):")
    assert "fleet_tasks.py" in trace
    assert 'raise OutOfStock("SKU-1", 3)' in trace


def test_wrong_arguments_fail_with_a_type_error(pair: Pair) -> None:
    # The other side's producer checks them too, by its own module; it may not know how the worker's has changed.
    task = pair.producer.ask("send_unchecked", "add", [1, 2, 3], queue=pair.queue)
    outcome = pair.outcome(task)
    assert (outcome["state"], outcome["name"]) == ("FAILURE", "TypeError")
    assert "add() takes" in outcome["text"]


# ── states, and who called whom ──────────────────────────────────────────────────────────────────────────────────────


def test_STARTED_tells_who_runs_it(pair: Pair, gate: Gate) -> None:  # noqa: N802
    task = pair.send("started", gate.port)
    arrival = gate.arrival()
    state, info = until(lambda: [] if (seen := pair.look(task))[0] == "PENDING" else seen, "STARTED is stored")
    arrival.open()
    assert state == "STARTED"
    assert info == {"pid": arrival.pid, "hostname": f"{pair.side}@fleet"}
    assert pair.get(task) is None


def test_a_state_of_the_tasks_own_is_seen(pair: Pair, gate: Gate) -> None:
    task = pair.send("report_progress", gate.port)
    arrival = gate.arrival()
    state, info = until(lambda: [] if (seen := pair.look(task))[0] == "PENDING" else seen, "the progress is stored")
    arrival.open()
    assert (state, info) == ("PROGRESS", {"done": 3, "of": 10})
    assert pair.get(task) == "done"


def test_tasks_that_a_task_calls_know_their_parent_and_root(pair: Pair) -> None:
    task = pair.send("call_others", OTHER[pair.side])
    called = pair.get(task)
    assert pair.producer.ask("children", task) == called
    for child in called:
        assert pair.get(child) == [child, task, task]
        assert json.loads(pair.database.document(child) or "")["parent_id"] == task


def call_of(pair: Pair, task: str, *args: Any) -> dict[str, Any]:
    """A signature as it travels, under an id of its own."""
    options = {"task_id": f"{task} {uuid4()}", "queue": pair.queue}
    return {"task": f"fleet_tasks.{task}", "args": list(args), "kwargs": {}, "options": options, "subtask_type": None,
            "immutable": False}  # fmt: skip


def test_a_callback_is_called_with_the_result(pair: Pair) -> None:
    callbacks = [call_of(pair, "add", 10), call_of(pair, "add", 20)]
    pair.send("add", 1, 2, link=callbacks)
    assert [pair.get(callback["options"]["task_id"]) for callback in callbacks] == [13, 23]


def test_an_errback_is_called_with_the_id_of_what_failed(pair: Pair) -> None:
    errback = call_of(pair, "echo")
    task = pair.send("fail", "own", link_error=errback)
    assert pair.get(errback["options"]["task_id"]) == task


def test_a_result_is_pushed_to_who_waits(pair: Pair, gate: Gate) -> None:
    task = pair.send("hold", gate.port)
    arrival = gate.arrival()
    channel = f"celery-task-meta-{task}"
    with ThreadPoolExecutor(1) as waiting:
        value = waiting.submit(pair.get, task, interval=AN_HOUR_S)
        until(lambda: pair.database.command("PUBSUB", "NUMSUB", channel)[1] == 1, "the caller has subscribed")
        arrival.open()
        assert value.result() == [pair.side, False]


# ── both workers on one queue ────────────────────────────────────────────────────────────────────────────────────────


def test_both_workers_share_one_queue_and_run_each_task_once(
    fleet: Fleet, gate: Gate, figure: Callable[[str], None]
) -> None:
    producer = fleet.producers[CELERY]
    holds = [producer.send("hold", gate.port, queue=SHARED) for _ in range(2)]
    arrivals = [gate.arrival(), gate.arrival()]
    calls = {CELERY: [[number] for number in range(150)], CELERIAC: [[number] for number in range(150, 300)]}
    with ThreadPoolExecutor(2) as threads:
        sent = {
            side: threads.submit(fleet.producers[side].ask, "send_many", "count", calls[side], queue=SHARED)
            for side in calls
        }
    for arrival in arrivals:
        arrival.open()
    assert sorted(producer.ask("get_many", holds)) == [[CELERIAC, False], [CELERY, False]]
    for side, ids in sent.items():
        assert fleet.producers[OTHER[side]].ask("get_many", ids.result()) == [number for [number] in calls[side]]
    ran = [(int(word), side) for word, side in fleet.database.lines() if word.isdigit()]
    assert sorted(number for number, _ in ran) == list(range(300))
    figure(", ".join(f"{side} ran {sum(by == side for _, by in ran)}" for side in OTHER))


# ── where what is delayed waits ──────────────────────────────────────────────────────────────────────────────────────


def test_our_delayed_task_lies_in_the_list_where_only_celery_serves(fleet: Fleet) -> None:
    queue = f"{NOBODYS}-delayed"
    fleet.producers[CELERIAC].send("add", 1, countdown=AN_HOUR_S, priority=6, queue=queue)
    [message] = fleet.database.messages(queue + STEPS[6])
    assert datetime.datetime.fromisoformat(message["headers"]["eta"]).timestamp() > time.time() + AN_HOUR_S / 2
    assert fleet.database.command("EXISTS", f"celeriac:{{{queue}}}:delayed") == 0


@pytest.mark.parametrize("producer", [CELERY, CELERIAC])
def test_a_delayed_task_waits_in_the_store_where_we_serve(fleet: Fleet, producer: str) -> None:
    """Ours goes there at once; Celery's is moved when it is claimed."""
    pair = Pair(fleet, producer, CELERIAC)
    task = pair.send("moment", countdown=AN_HOUR_S, priority=3)
    assert until(lambda: [step for step, id in waiting(pair.database) if id == task], "it is in the store") == ["3"]
    assert pair.database.command("EXISTS", CELERIAC, *(CELERIAC + step for step in STEPS.values())) == 0


def waiting(database: Database, queue: str = CELERIAC) -> list[tuple[str, str]]:
    """The priority step and id of what waits for its time."""
    members = database.command("ZRANGE", f"celeriac:{{{queue}}}:delayed", 0, -1)
    return [(member[:1].decode(), json.loads(member[1:])["headers"]["id"]) for member in members]


# ── byte for byte ────────────────────────────────────────────────────────────────────────────────────────────────────

CALLS: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "args": ("add", [2, 3], {}),
    "kwargs": ("add", [], {"kwargs": {"x": 2, "y": 3}}),
    "values": ("echo", [VALUES], {}),
    "builtin exception": ("fail", ["builtin"], {}),
    "bare exception": ("fail", ["bare"], {}),
    "own exception": ("fail", ["own"], {}),
    "expired": ("add", [2, 3], {"expires": -1}),
}


@pytest.mark.parametrize("call", CALLS)
def test_bodies_say_the_same(fleet: Fleet, call: str) -> None:
    task, args, options = CALLS[call]
    bodies = []
    for side in (CELERY, CELERIAC):
        queue = f"{NOBODYS}-{call}-{side}"
        fleet.producers[side].send(task, *args, queue=queue, **options)
        [message] = fleet.database.messages(queue)
        args, kwargs, embed = body_of(message)
        assert None not in embed.values() or side == CELERY  # what its workers fill in is left out
        embed = {**dict.fromkeys(("callbacks", "errbacks", "chain", "chord")), **embed}
        bodies.append((args, kwargs, embed, message["content-type"], message["content-encoding"]))
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("call", CALLS)
def test_documents_are_the_same_bytes_but_for_time_and_frames(fleet: Fleet, call: str) -> None:
    task, args, options = CALLS[call]
    documents = []
    for side in (CELERY, CELERIAC):
        pair = Pair(fleet, CELERIAC, side)
        task_id = f"document of {call}"
        pair.outcome(pair.send(task, *args, task_id=task_id, **options))
        text = fleet.database.document(task_id)
        assert text is not None
        fleet.database.command("DEL", f"celery-task-meta-{task_id}")
        text = re.sub(r'"date_done": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00"', '"date_done": ""', text)
        documents.append(re.sub(r'"traceback": "Traceback (?:[^"\\]|\\.)+"', '"traceback": ""', text))
    assert documents[0] == documents[1]


# ── what the dead leave, and the way back: each on a database of its own ─────────────────────────────────────────────


def test_what_a_killed_celery_worker_had_not_acknowledged_is_run_by_us(
    redis: RedisServer, tmp_path: Path, gate: Gate
) -> None:
    database = Database(redis, 1, tmp_path)
    options = {"broker_transport_options": {"visibility_timeout": 1}}
    with database.producer(CELERY) as producer:
        with database.worker(CELERY, "doomed") as celerys:
            celerys.wait_until_ready()
            delayed = producer.send("moment", countdown=AN_HOUR_S, priority=6, queue="doomed")
            until(lambda: database.command("HLEN", "unacked") == 1, "Celery's worker has taken the delayed task")
            held = producer.send("hold", gate.port, queue="doomed")
            gate.arrival()
            celerys.kill()
        taken = dict(zip(*[iter(database.command("ZRANGE", "unacked_index", 0, -1, "WITHSCORES"))] * 2, strict=True))
        assert len(taken) == 2
        with database.worker(CELERIAC, "doomed", **options) as ours:
            gate.arrival().open()
            assert time.time() >= min(map(float, taken.values())) + 1
            assert producer.get(held) == [CELERIAC, True]
            assert until(lambda: waiting(database, "doomed"), "the other waits with us") == [("6", delayed)]
            assert database.command("EXISTS", "unacked", "unacked_index") == 0
            assert ours.stop() == 0
    database.close()


def test_handback_gives_celery_what_is_delayed_leased_and_dead(redis: RedisServer, tmp_path: Path, gate: Gate) -> None:
    database = Database(redis, 2, tmp_path)
    with database.producer(CELERIAC) as producer:
        with database.worker(CELERIAC, "moving", worker_lease=3) as ours:
            ours.wait_until_ready()
            dead = producer.send("fail_in_celeriac", queue="moving")
            assert producer.outcome(dead)["state"] == "FAILURE"
            delayed = producer.send("moment", countdown=4, priority=3, queue="moving")
            due = time.time() + 4
            leased = producer.send("hold", gate.port, queue="moving")
            gate.arrival()
            refused = database.celeriac("handback")
            assert refused.returncode == 1
            assert "celeriac workers are running" in refused.stderr
            ours.kill()
        until(lambda: database.celeriac("handback").returncode == 0, "the dead worker's lease has ended", every_s=0.2)
        assert {"moving", "moving" + STEPS[3]} <= database.all_keys()
        with database.worker(CELERY, "moving") as celerys:
            celerys.wait_until_ready()
            gate.arrival().open()
            assert producer.get(leased)[0] == CELERY
            # A result that has ended is not asked for again, hence by its stored document.
            until(lambda: '"SUCCESS"' in (database.document(dead) or ""), "Celery has run the dead letter")
            assert producer.get(delayed) >= due - 0.1
        assert database.celeriac("handback").stdout.startswith("Gave 0 messages")
    database.close()


def test_both_sides_put_the_same_prefix_before_their_keys(redis: RedisServer, tmp_path: Path) -> None:
    database = Database(
        redis,
        3,
        tmp_path,
        broker_transport_options={"global_keyprefix": "fleet."},
        result_backend_transport_options={"global_keyprefix": "results"},
    )
    with ExitStack() as stack:
        workers = {side: stack.enter_context(database.worker(side, side)) for side in (CELERY, CELERIAC)}
        for side, other in ((CELERY, CELERIAC), (CELERIAC, CELERY)):
            producer = stack.enter_context(database.producer(side))
            producer.send("add", 1, queue=NOBODYS, priority=3)
            workers[other].wait_until_ready()
            task = producer.send("add", 2, 3, queue=other, priority=6)
            assert producer.get(task, interval=AN_HOUR_S) == 5
            assert database.command("EXISTS", f"results_celery-task-meta-{task}") == 1
            later = producer.send("moment", queue=other, countdown=0.5)
            assert producer.get(later, interval=AN_HOUR_S) > 0
        assert database.command("LLEN", f"fleet.{NOBODYS}{STEPS[3]}") == 2
        assert not [key for key in database.all_keys() if not key.startswith(("fleet.", "results_"))]
    database.close()


def body_of(message: dict[str, Any]) -> Any:
    body = message["body"]
    return json.loads(base64.b64decode(body) if message["properties"].get("body_encoding") == "base64" else body)
