"""The runtime against a store that fails: nothing is lost, nothing is done twice, no loop dies.

Courier, slot and lease service run in threads of the test on a store in memory; below the injected faults a recorder notes
what the store really did.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from celeriac import Celery, states
from celeriac.documents import Document
from celeriac.engines import open_broker, open_results
from celeriac.engines.base import Ack, Broker, Bury, Claim, Commit, EngineOptions, Exchange, Keep, Lease, Node, Owner
from celeriac.exceptions import EncodeError, OperationalError
from celeriac.execution.executor import Executor
from celeriac.execution.outcomes import failures
from celeriac.retries import Backoff
from celeriac.testing.faults import (
    ERROR,
    LOST,
    Fault,
    FaultPlan,
    FaultyBroker,
    FaultyResults,
    NoFaults,
    Outage,
    RandomFaults,
    ScriptedFaults,
)
from celeriac.worker.board import Board
from celeriac.worker.courier import Courier
from celeriac.worker.courier_options import CourierOptions
from celeriac.worker.leases import DeadChild, LeaseService
from celeriac.worker.plan import Wishes, make_plan
from celeriac.worker.pools.workplace import Workplace, run_slot
from celeriac.worker.starting import register_patiently
from support.waiting import PATIENCE_S, until

#: Small batches and short pauses: many exchanges, so that faults have something to hit.
OPTIONS = CourierOptions(most_ahead=6, look_s=0.05, backoff=Backoff(first_s=0.001, longest_s=0.02))
#: Publishers try as often as it takes: 30 failures in a row do not happen by chance.
PATIENT = {"max_retries": 30, "interval_start": 0, "interval_step": 0.0005, "interval_max": 0.005}


class Recorder:
    """Between the faults and the store: what was lent, and how each loan ended."""

    def __init__(self, inner: Broker) -> None:
        self._inner = inner
        self.leases: dict[int, Lease] = {}
        self.ends: list[tuple[int, object]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def exchange(self, owner: Owner, commits: Sequence[Commit], claim: Claim | None = None) -> Exchange:
        answer = self._inner.exchange(owner, commits, claim)
        for commit, applied in zip(commits, answer.applied, strict=True):
            if applied and not isinstance(commit.settle, Keep):
                self.ends.append((commit.token, commit.settle))
        self.leases.update((lease.token, lease) for lease in answer.leases)
        return answer

    def die(self, node_id: str) -> None:
        """As if the worker's process had ended."""
        self._inner._locks.release(node_id)  # type: ignore[attr-defined]

    def final_ends(self) -> Counter[str | None]:
        """How often a message of each task id was done with (acknowledged or buried)."""
        return Counter(self.leases[token].message.id for token, how in self.ends if isinstance(how, (Ack, Bury)))


@dataclass
class Site:
    """An application on a store with faults, and its tasks."""

    app: Celery
    plan: FaultPlan
    broker: FaultyBroker
    recorder: Recorder
    results: Any  # the store behind the faults
    runs: Counter[tuple[str, int]] = field(default_factory=Counter)
    running: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def document(self, task_id: str) -> Document | None:
        raw = self.results.get([task_id]).get(task_id)
        return None if raw is None else Document.decode(task_id, raw)

    def lend(self, node_id: str) -> tuple[Lease, ...]:
        """What a worker that comes anew is given."""
        self.recorder.register(Node(node_id, "w@h", "h", 1, "solo", 1, ("celery",)))
        return self.recorder.exchange(Owner(node_id, 1), [], Claim(("celery",), 10)).leases

    def at_rest(self) -> bool:
        """Whether nothing waits, is delayed or leased."""
        return not any(queue.ready or queue.leased or queue.delayed for queue in self.recorder.queues())


@pytest.fixture
def make_site(tmp_path: Any) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def make(plan: FaultPlan | None = None, *, stores: int = 1, **settings: Any) -> Site:
        plan = plan or NoFaults()
        app = Celery("faults", broker=":memory:", **{"task_publish_retry_policy": PATIENT, **settings})
        options = EngineOptions(str(tmp_path))
        recorder = Recorder(open_broker(":memory:", options))
        broker = FaultyBroker(recorder, plan)  # type: ignore[arg-type]
        results = broker.result_store() if stores == 1 else FaultyResults(open_results(":memory:", options), plan)
        app.stores._broker, app.stores._results = broker, results
        site = Site(app, plan, broker, recorder, results.inner)
        add_tasks(site)
        sites.append(site)
        return site

    yield make
    for site in sites:
        site.go_on.set()
        site.app.close()


def add_tasks(site: Site) -> None:
    app = site.app

    def note(task: Any) -> None:
        site.runs[task.request.id, task.request.retries] += 1

    @app.task(bind=True, name="ok")
    def ok(self: Any, value: int) -> int:
        note(self)
        return value + 1

    @app.task(bind=True, name="echo")
    def echo(self: Any, value: Any) -> Any:
        note(self)
        return value

    @app.task(bind=True, name="fail")
    def fail(self: Any, value: Any) -> None:
        note(self)
        raise ValueError(value)

    @app.task(bind=True, name="again", max_retries=10)
    def again(self: Any, times: int, countdown: float = 0) -> int:
        note(self)
        if self.request.retries < times:
            raise self.retry(countdown=countdown, exc=ValueError("not yet"))
        return int(self.request.retries)

    @app.task(bind=True, name="never", max_retries=2)
    def never(self: Any) -> None:
        note(self)
        raise self.retry(countdown=0, exc=KeyError("never"))

    @app.task(bind=True, name="once", acks_late=False)
    def once(self: Any, value: int) -> int:
        note(self)
        return value

    @app.task(bind=True, name="progress", track_started=True)
    def progress(self: Any, value: int) -> int:
        note(self)
        self.update_state(state="HALF", meta={"done": 0.5})
        return value

    @app.task(bind=True, name="parent")
    def parent(self: Any, child_id: str) -> str:
        note(self)
        ok.apply_async((1,), task_id=child_id)
        return child_id

    @app.task(bind=True, name="coroutine")
    async def coroutine(self: Any, value: int) -> int:
        await asyncio.sleep(0)
        note(self)
        return value

    @app.task(bind=True, name="blocked")
    def blocked(self: Any) -> str:
        note(self)
        site.running.set()
        assert site.go_on.wait(PATIENCE_S)
        return "done"


class Crew:
    """Courier and slot in this process."""

    def __init__(self, site: Site, options: CourierOptions = OPTIONS) -> None:
        self.plan = make_plan(Wishes("faults", pool="solo"), site.app)
        self.owner = Owner(self.plan.node_id, 1)
        self.courier = Courier(
            site.app.broker, site.app.results, self.owner, self.plan.queues, options, failed=failures(site.app)
        )
        self.leases = LeaseService(self.plan, site.app.broker, site.app.results)
        place = Workplace(Executor(site.app, self.plan.hostname, self.courier), self.courier, Board.create(slots=1))
        self.slot = threading.Thread(target=run_slot, args=(place,), daemon=True, name="slot")

    @property
    def alive(self) -> bool:
        return self.courier._thread.is_alive() and self.slot.is_alive()

    def start(self) -> None:
        self.courier.start()
        self.slot.start()

    def stop(self) -> None:
        self.courier.stop()
        self.slot.join(PATIENCE_S)
        assert not self.slot.is_alive(), "the slot ends"
        assert self.courier.join(PATIENCE_S), "the courier ends"


@contextmanager
def crew(site: Site, options: CourierOptions = OPTIONS, *, with_leases: bool = False) -> Iterator[Crew]:
    """A worker of one slot; stopped at the end."""
    workers = Crew(site, options)
    register_patiently(site.app.broker, workers.plan, lambda: False)
    if with_leases:
        workers.leases.start()
    workers.start()
    try:
        yield workers
        assert workers.alive
    finally:
        site.go_on.set()
        workers.stop()
        if with_leases:
            workers.leases.stop(PATIENCE_S)


# ── whatever goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Expected:
    state: str
    runs: int
    buried: bool = False


def send_many(site: Site, seed: int, count: int) -> dict[str, Expected]:
    """Send a mixture of tasks; what is to become of each."""
    dice = random.Random(seed)
    tasks = site.app.tasks
    expected: dict[str, Expected] = {}
    for number in range(count):
        task_id = f"t{number}"
        options = {"task_id": task_id, "priority": dice.choice([0, 0, 5])}
        if dice.random() < 0.1:
            options["countdown"] = dice.uniform(0, 0.1)
        match dice.randrange(10):
            case 0 | 1 | 2:
                tasks["ok"].apply_async((number,), **options)
                expected[task_id] = Expected(states.SUCCESS, 1)
            case 3:
                tasks["fail"].apply_async((number,), **options)
                expected[task_id] = Expected(states.FAILURE, 1, buried=True)
            case 4:
                times = dice.randrange(1, 4)
                tasks["again"].apply_async((times, dice.choice([0, 0.01])), **options)
                expected[task_id] = Expected(states.SUCCESS, times + 1)
            case 5:
                tasks["never"].apply_async((), **options)
                expected[task_id] = Expected(states.FAILURE, 3, buried=True)
            case 6:
                tasks["once"].apply_async((number,), **options)
                expected[task_id] = Expected(states.SUCCESS, 1)
            case 7:
                tasks["progress"].apply_async((number,), **options)
                expected[task_id] = Expected(states.SUCCESS, 1)
            case 8:
                child_id = f"c{number}"
                tasks["parent"].apply_async((child_id,), **options)
                expected[task_id] = expected[child_id] = Expected(states.SUCCESS, 1)
            case 9:
                tasks["coroutine"].apply_async((number,), **options)
                expected[task_id] = Expected(states.SUCCESS, 1)
    return expected


def check(site: Site, expected: dict[str, Expected]) -> None:
    found = {task_id: document.status for task_id in expected if (document := site.document(task_id))}
    assert found == {task_id: wanted.state for task_id, wanted in expected.items()}
    assert site.runs == {(task_id, retry): 1 for task_id, wanted in expected.items() for retry in range(wanted.runs)}, (
        "each run ran once"
    )
    assert site.recorder.final_ends() == {task_id: wanted.runs for task_id, wanted in expected.items()}
    buried = [letter.task_id for letter in site.recorder.dead(None, 1000)]
    assert sorted(map(str, buried)) == sorted(task_id for task_id, wanted in expected.items() if wanted.buried)
    assert site.at_rest()


@pytest.mark.parametrize("stores", [1, 2])
@pytest.mark.parametrize("seed", range(10))
def test_all_tasks_end_rightly_and_once_whatever_goes_wrong(
    make_site: Callable[..., Site], seed: int, stores: int
) -> None:
    site = make_site(RandomFaults(seed, error=0.1, lost=0.1, slow=0.1, delay_s=0.002), stores=stores)
    with crew(site, with_leases=True) as workers:
        expected = send_many(site, seed, 200)
        until(
            lambda: sum(site.recorder.final_ends().values()) >= sum(w.runs for w in expected.values()), "all have ended"
        )
        until(site.at_rest, "nothing is left")
    check(site, expected)
    assert workers.courier.lost == 0
    kinds = Counter[str]()
    for (_, kind), times in site.broker.injected.items():
        kinds[kind] += times
    assert min(kinds["error"], kinds["lost"], kinds["delay"]) > 10


@pytest.mark.parametrize("seed", range(3))
def test_two_workers_share_the_work_whatever_goes_wrong(make_site: Callable[..., Site], seed: int) -> None:
    from celeriac.engines.sqlite import SQLiteBroker

    site = make_site(RandomFaults(seed, error=0.1, lost=0.1))
    with crew(site) as first:
        # Another waiter on the same store: a broker serves one.
        second_broker = FaultyBroker(
            Shared(site.recorder, SQLiteBroker(site.recorder.database)), RandomFaults(seed + 100, error=0.1, lost=0.1)
        )
        second = Courier(second_broker, site.app.results, Owner(first.plan.node_id, 2), first.plan.queues, OPTIONS)
        place = Workplace(Executor(site.app, "second", second), second, Board.create(slots=1))
        slot = threading.Thread(target=run_slot, args=(place,), daemon=True)
        second.start()
        slot.start()
        expected = send_many(site, seed, 200)
        until(
            lambda: sum(site.recorder.final_ends().values()) >= sum(w.runs for w in expected.values()), "all have ended"
        )
        second.stop()
        slot.join(PATIENCE_S)
        assert second.join(PATIENCE_S)
    check(site, expected)
    assert (first.courier.lost, second.lost) == (0, 0)


class Shared(Recorder):
    """Another broker's calls, noted in the first one's record."""

    def __init__(self, record: Recorder, inner: Broker) -> None:
        super().__init__(inner)
        self.leases, self.ends = record.leases, record.ends


# ── certain faults ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "script",
    [
        [("exchange", 1, LOST)],
        [("exchange", 1, LOST), ("held", 1, ERROR)],
        [("exchange", 1, LOST), ("held", 1, LOST), ("exchange", 2, ERROR), ("exchange", 3, LOST)],
    ],
)
def test_what_an_unanswered_claim_got_is_adopted(
    make_site: Callable[..., Site], script: list[tuple[str, int, Fault]]
) -> None:
    site = make_site(ScriptedFaults(script))
    sent = [site.app.tasks["ok"].delay(number) for number in range(20)]
    with crew(site):
        until(site.at_rest, "all are done")
    assert all(site.runs[result.id, 0] == 1 for result in sent)
    assert [lease.deliveries for lease in site.recorder.leases.values()] == [1] * 20
    assert {how for _, how in site.recorder.ends} == {Ack()}


def test_an_unanswered_commit_is_no_lost_lease(
    make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    site = make_site(ScriptedFaults([("exchange", number, LOST) for number in range(2, 12)]))
    sent = [site.app.tasks["ok"].delay(number) for number in range(30)]
    with crew(site) as workers:
        until(site.at_rest, "all are done")
    assert workers.courier.lost == 0
    assert "lost its lease" not in caplog.text
    assert site.recorder.final_ends() == {result.id: 1 for result in sent}


def test_a_lease_that_is_really_lost_is_counted_and_changes_nothing(
    make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    site = make_site()
    result = site.app.tasks["blocked"].delay()
    with crew(site) as workers:
        assert site.running.wait(PATIENCE_S)
        (taken,) = site.recorder.seize(workers.owner, Owner("thief"))
        site.go_on.set()
        until(lambda: workers.courier.lost, "the loss is noticed")
        assert site.document(result.id) is None
        assert site.recorder.held(Owner("thief")) == [taken]
    assert workers.courier.lost == 1
    assert caplog.text.count("lost its lease") == 1


def test_an_outage_ends_nothing_and_is_told_once(
    make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    outage = Outage()
    site = make_site(outage)
    blocked = site.app.tasks["blocked"].delay()
    waiting = [site.app.tasks["ok"].delay(number) for number in range(20)]
    with crew(site) as workers:
        assert site.running.wait(PATIENCE_S)
        with outage:
            site.go_on.set()
            until(lambda: site.broker.injected["exchange", "error"] > 10, "it keeps trying")
            assert workers.alive
        until(site.at_rest, "all are done")
    assert site.recorder.final_ends() == {result.id: 1 for result in (blocked, *waiting)}
    assert caplog.text.count("The broker cannot be used") == 1
    assert caplog.text.count("The broker is back") == 1


def test_an_idle_worker_takes_up_work_after_an_outage(make_site: Callable[..., Site]) -> None:
    outage = Outage()
    site = make_site(outage)
    with crew(site) as workers:
        site.app.tasks["ok"].delay(1)
        until(site.at_rest, "the first is done")
        with outage:
            until(lambda: site.broker.injected["exchange", "error"] > 3, "it keeps trying")
        site.app.tasks["ok"].delay(2)
        until(lambda: len(site.recorder.ends) == 2, "the second is done")
        assert workers.courier._outage.attempts == 0


def test_a_wait_that_fails_costs_time_but_no_work(make_site: Callable[..., Site]) -> None:
    site = make_site(RandomFaults(1, error=0.5, lost=0.3, operations={"wait"}))
    with crew(site):
        for number in range(30):
            site.app.tasks["ok"].delay(number)
        until(lambda: len(site.recorder.ends) == 30, "all are done")


class Picky(Recorder):
    """A store that has no form for what some runs caused, and says so in its own way."""

    def exchange(self, owner: Owner, commits: Sequence[Commit], claim: Claim | None = None) -> Exchange:
        if any(commit.record is not None and b"unwritable" in commit.record.body for commit in commits):
            raise UnicodeError("not in this store")
        return super().exchange(owner, commits, claim)


def test_a_run_whose_effects_cannot_be_stored_is_buried_and_stops_no_other(make_site: Callable[..., Site]) -> None:
    site = make_site()
    site.recorder = site.broker.inner = Picky(site.recorder._inner)  # type: ignore[assignment]
    for number in range(20):
        site.app.tasks["echo"].apply_async(("unwritable" if number % 7 == 3 else "fine",), task_id=str(number))
    with crew(site):
        until(site.at_rest, "all are done")
    assert sorted(str(letter.task_id) for letter in site.recorder.dead()) == ["10", "17", "3"]
    assert {letter.reason for letter in site.recorder.dead()} == {
        "what the run caused cannot be stored: UnicodeError('not in this store')"
    }
    with pytest.raises(EncodeError, match="cannot be stored: UnicodeError"):
        site.app.AsyncResult("3").get(timeout=PATIENCE_S)
    assert site.recorder.final_ends() == {str(number): 1 for number in range(20)}
    assert sum(site.runs.values()) == 20


@pytest.mark.parametrize("text", ["half a character: \udcff", "a\x00b"])
def test_any_text_may_be_raised_or_returned(make_site: Callable[..., Site], text: str) -> None:
    site = make_site()
    with crew(site):
        failed = site.app.tasks["fail"].delay(text)
        assert site.app.tasks["echo"].delay(text).get(timeout=PATIENCE_S) == text
        with pytest.raises(ValueError, match=r"half|a.b"):
            failed.get(timeout=PATIENCE_S)
        until(site.at_rest, "both are done")


class StopAt:
    """Loses the answer to the first exchange that claims, and has the worker stopped meanwhile."""

    def __init__(self) -> None:
        self.stop: Callable[[], None] | None = None

    def next(self, operation: str) -> Fault | None:
        stop, self.stop = (self.stop, None) if operation == "exchange" else (None, self.stop)
        if stop is None:
            return None
        stop()
        return LOST


def test_what_an_unanswered_claim_got_goes_back_when_the_worker_stops(make_site: Callable[..., Site]) -> None:
    plan = StopAt()
    site = make_site(plan)
    for number in range(5):
        site.app.tasks["ok"].delay(number)
    workers = Crew(site)
    plan.stop = workers.courier.stop
    site.recorder.register(workers.plan.node())
    workers.start()
    workers.stop()
    (queue,) = site.recorder.queues()
    assert (queue.ready, queue.leased) == (5, 0)
    assert site.runs == {}
    assert [lease.deliveries for lease in site.lend("next")] == [1] * 5


def test_a_worker_that_holds_nothing_can_stop_in_an_outage(make_site: Callable[..., Site]) -> None:
    outage = Outage()
    site = make_site(outage)
    workers = Crew(site)
    with outage:
        workers.start()
        until(lambda: site.broker.injected["exchange", "error"] > 1, "it tries")
        workers.stop()


def test_a_finished_run_is_settled_before_the_worker_ends_though_the_store_is_away(
    make_site: Callable[..., Site],
) -> None:
    outage = Outage()
    site = make_site(outage)
    result = site.app.tasks["blocked"].delay()
    workers = Crew(site)
    site.recorder.register(workers.plan.node())
    workers.start()
    assert site.running.wait(PATIENCE_S)
    with outage:
        site.go_on.set()
        workers.courier.stop()
        workers.slot.join(PATIENCE_S)
        assert not workers.courier.join(0.1)
    assert workers.courier.join(PATIENCE_S)
    document = site.document(result.id)
    assert document is not None
    assert document.status == states.SUCCESS
    assert site.at_rest()


@pytest.mark.parametrize("fault", [ERROR, LOST])
def test_an_at_most_once_run_begins_once_though_the_answer_was_lost(
    make_site: Callable[..., Site], fault: Fault
) -> None:
    site = make_site(ScriptedFaults([("exchange", number, fault) for number in (2, 3, 4)]))
    results = [site.app.tasks["once"].delay(number) for number in range(3)]
    with crew(site):
        until(site.at_rest, "all are done")
    assert site.runs == {(result.id, 0): 1 for result in results}
    assert {document.status for result in results if (document := site.document(result.id))} == {states.SUCCESS}


# ── publishing and waiting for results ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("faults", [[LOST], [ERROR], [LOST, ERROR], [LOST, LOST, LOST], [ERROR, LOST, ERROR]])
def test_delay_sends_once_though_answers_are_lost(make_site: Callable[..., Site], faults: list[Fault]) -> None:
    site = make_site(ScriptedFaults([("publish", number, fault) for number, fault in enumerate(faults, 1)]))
    site.app.tasks["ok"].delay(1)
    site.app.tasks["ok"].delay(2)
    assert len(site.recorder.peek("celery")) == 2


def test_delay_gives_up_in_time_and_has_sent_once_at_most(make_site: Callable[..., Site]) -> None:
    site = make_site(
        ScriptedFaults([("publish", number, LOST) for number in range(1, 5)]),
        task_publish_retry_policy={"max_retries": 3, "interval_start": 0, "interval_step": 0},
    )
    with pytest.raises(OperationalError):
        site.app.tasks["ok"].delay(1)
    assert len(site.recorder.peek("celery")) == 1
    site.app.tasks["ok"].delay(2)
    assert len(site.recorder.peek("celery")) == 2


@pytest.mark.parametrize("seed", range(3))
def test_many_threads_send_each_message_once(make_site: Callable[..., Site], seed: int) -> None:
    site = make_site(RandomFaults(seed, error=0.2, lost=0.2, slow=0.2, delay_s=0.001))
    errors: list[BaseException] = []

    def send(thread: int) -> None:
        try:
            for number in range(40):
                site.app.tasks["ok"].apply_async((1,), task_id=f"{thread}-{number}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert errors == []
    found = [message.id for message in site.recorder.peek("celery", 1000)]
    assert sorted(map(str, found)) == sorted(f"{thread}-{number}" for thread in range(5) for number in range(40))


async def test_adelay_sends_once_though_answers_are_lost(make_site: Callable[..., Site]) -> None:
    site = make_site(RandomFaults(3, error=0.2, lost=0.3))
    await asyncio.gather(*(site.app.tasks["ok"].adelay(number) for number in range(50)))
    assert len(site.recorder.peek("celery", 100)) == 50


def test_get_waits_through_trouble(make_site: Callable[..., Site]) -> None:
    site = make_site(RandomFaults(5, error=0.2, lost=0.2, operations={"get", "watch", "forget"}))
    with crew(site):
        for number in range(5):
            assert site.app.tasks["ok"].delay(number).get(timeout=PATIENCE_S) == number + 1


def test_get_waits_through_an_outage(make_site: Callable[..., Site]) -> None:
    outage = Outage()
    site = make_site(outage)
    with crew(site):
        result = site.app.tasks["blocked"].delay()
        assert site.running.wait(PATIENCE_S)
        got: list[Any] = []
        with outage:
            waiting = threading.Thread(target=lambda: got.append(result.get(timeout=PATIENCE_S)))
            waiting.start()
            site.go_on.set()
            until(lambda: site.app.results.injected["get", "error"] > 0, "it asks in vain")  # type: ignore[attr-defined]
        waiting.join(PATIENCE_S)
    assert got == ["done"]


# ── the lease service ────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def lease_service(
    site: Site, on_lost: Callable[[str], None] = lambda node_id: None, living: Callable[[], list[int]] | None = None
) -> Iterator[tuple[LeaseService, str]]:
    plan = make_plan(Wishes("faults", pool="solo"), site.app)
    site.recorder.register(plan.node())
    service = LeaseService(plan, site.broker, site.app.results, on_lost=on_lost, living=living)
    service.start()
    try:
        yield service, plan.node_id
        assert service._thread.is_alive()
    finally:
        assert service.stop(PATIENCE_S)


@pytest.mark.parametrize("fault", [ERROR, LOST])
@pytest.mark.parametrize("operation", ["held", "seize", "exchange", "renew", "recover", "trim_dead"])
def test_what_a_dead_child_had_not_begun_is_no_crash_whatever_fails(
    make_site: Callable[..., Site], operation: str, fault: Fault
) -> None:
    site = make_site(ScriptedFaults([(operation, number, fault) for number in (1, 2)]))
    for name in ("ran", "waited", "waited-too"):
        site.app.tasks["ok"].apply_async((1,), task_id=name)
    with lease_service(site) as (service, node_id):
        child = Owner(node_id, 5)
        ran, *_ = site.recorder.exchange(child, [], Claim(("celery",), 10)).leases
        service.child_died(DeadChild(5, frozenset({ran.token}), "killed by signal 9"))
        until(lambda: [queue.ready for queue in site.recorder.queues()] == [3], "all are back")
    found = [site.lend("next") for _ in range(2)]
    assert [(lease.message.id, lease.deliveries) for leases in found for lease in leases] == [
        ("ran", 2),
        ("waited", 1),
        ("waited-too", 1),
    ]


def test_who_takes_over_and_is_taken_for_dead_meanwhile_leaves_no_node_behind(make_site: Callable[..., Site]) -> None:
    site = make_site()
    plan = make_plan(Wishes("faults", pool="solo"), site.app)
    service = LeaseService(plan, site.broker, site.app.results)
    site.recorder.register(plan.node())
    site.recorder.unregister(plan.node_id)
    service.take_over()
    assert [state.node.id == plan.node_id for state in site.recorder.nodes()] == [False]
    service.sign_off()
    assert site.recorder.nodes() == []


def test_a_result_that_cannot_be_written_keeps_no_other_work_of_a_dead_child_from_being_settled(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(max_deliveries=1)
    for name in ("odd", "other"):
        site.app.tasks["ok"].apply_async((1,), task_id=name)
    exchange = site.broker.exchange

    def writes_what_it_can(owner: Owner, commits: Sequence[Commit], claim: Claim | None = None) -> Exchange:
        if any(commit.record is not None and commit.record.task_id == "odd" for commit in commits):
            raise UnicodeError("half a character")
        return exchange(owner, commits, claim)

    monkeypatch.setattr(site.broker, "exchange", writes_what_it_can)
    with lease_service(site) as (service, node_id):
        leases = site.recorder.exchange(Owner(node_id, 5), [], Claim(("celery",), 10)).leases
        service.child_died(DeadChild(5, frozenset(lease.token for lease in leases), "killed by signal 9"))
        until(lambda: [queue.ready for queue in site.recorder.queues()] == [2], "both are back, for their handlers")
    assert site.document("odd") is None
    other = site.document("other")
    assert other is not None
    assert other.status == states.FAILURE


def test_a_reported_death_is_never_overtaken_by_the_look_for_strays(make_site: Callable[..., Site]) -> None:
    """A stray's leases count as having run, all of them; the report says which did."""
    site = make_site(ScriptedFaults([("held", number, ERROR) for number in range(1, 16)]), worker_lease=0.5)
    for name in ("ran", "waited"):
        site.app.tasks["ok"].apply_async((1,), task_id=name)
    with lease_service(site, living=list) as (service, node_id):
        ran, _ = site.recorder.exchange(Owner(node_id, 5), [], Claim(("celery",), 10)).leases
        service.child_died(DeadChild(5, frozenset({ran.token}), "killed by signal 9"))
        until(lambda: [queue.ready for queue in site.recorder.queues()] == [2], "both are back")
    found = [site.lend("next") for _ in range(2)]
    assert {lease.message.id: lease.deliveries for leases in found for lease in leases} == {"ran": 2, "waited": 1}


@pytest.mark.parametrize("stores", [1, 2])
@pytest.mark.parametrize("operation", ["held", "seize", "exchange", "store"])
def test_a_message_that_killed_too_often_is_buried_once_whatever_fails(
    make_site: Callable[..., Site], operation: str, stores: int
) -> None:
    site = make_site(ScriptedFaults([(operation, 1, LOST), (operation, 2, ERROR)]), stores=stores, max_deliveries=1)
    site.app.tasks["ok"].apply_async((1,), task_id="bad")
    with lease_service(site) as (service, node_id):
        (lease,) = site.recorder.exchange(Owner(node_id, 1), [], Claim(("celery",), 1)).leases
        service.child_died(DeadChild(1, frozenset({lease.token}), "killed by signal 9"))
        until(lambda: [queue.ready for queue in site.recorder.queues()] == [1], "it is back, for its handlers")
    document = site.document("bad")  # before any child has seen it again
    assert document is not None
    assert document.status == states.FAILURE
    with crew(site):
        until(site.at_rest, "it is buried")
    (letter,) = site.recorder.dead()
    assert "killed by signal 9" in letter.reason
    assert "killed by signal 9" in letter.detail
    assert not site.runs
    if stores == 2:
        assert site.recorder.result_store().get(["bad"]) == {}


@pytest.mark.parametrize("fault", [ERROR, LOST])
@pytest.mark.parametrize("operation", ["recover", "held", "exchange"])
def test_the_leases_of_a_dead_node_go_back_whatever_fails(
    make_site: Callable[..., Site], operation: str, fault: Fault
) -> None:
    site = make_site(ScriptedFaults([(operation, number, fault) for number in (1, 2)]))
    site.app.tasks["ok"].delay(1)
    site.lend("dead")
    site.recorder.die("dead")
    with lease_service(site):
        until(lambda: [queue.ready for queue in site.recorder.queues()] == [1], "it is back")
    assert site.recorder.ends != []


@pytest.mark.parametrize("fault", [ERROR, LOST])
def test_leases_of_a_child_that_does_not_live_go_back_though_nobody_has_told_of_its_death(
    make_site: Callable[..., Site], fault: Fault
) -> None:
    """As when a failover takes back that they were taken over. Those of the living stay."""
    site = make_site(ScriptedFaults([("holders", 1, fault), ("seize", 1, fault)]), worker_lease=0.5)
    for name in ("stray", "kept"):
        site.app.tasks["ok"].apply_async((1,), task_id=name)
    with lease_service(site, living=lambda: [6]) as (_, node_id):
        for child in (5, 6):
            site.recorder.exchange(Owner(node_id, child), [], Claim(("celery",), 1))
        until(lambda: [queue.ready for queue in site.recorder.queues()] == [1], "it is back")
        assert [lease.message.id for lease in site.recorder.held(Owner(node_id, 6))] == ["kept"]
    assert [lease.message.id for lease in site.lend("next")] == ["stray"]


def test_a_node_that_the_store_forgot_comes_back_under_another_id(make_site: Callable[..., Site]) -> None:
    """Its work has been given away: under the old id it could still settle some of what others run by now."""
    site = make_site(
        ScriptedFaults([("renew", 2, ERROR), ("register", 1, ERROR), ("register", 2, LOST)]), worker_lease=0.5
    )
    told: list[str] = []
    with lease_service(site, told.append) as (service, node_id):
        site.recorder.unregister(node_id)
        until(lambda: told, "the runtime is told")
        assert [state.node.id for state in site.recorder.nodes()] == told
        assert node_id not in told
        # What its children hold and report from now on is the new one's.
        child = Owner(told[0], 7)
        site.app.tasks["ok"].delay(1)
        (lease,) = site.recorder.exchange(child, [], Claim(("celery",), 1)).leases
        service.child_died(DeadChild(7, frozenset({lease.token}), "killed by signal 9"))
        until(lambda: [queue.ready for queue in site.recorder.queues()] == [1], "it is back")
    assert site.recorder.nodes() == []


@pytest.mark.parametrize("operation", ["recover", "trim_dead", "held"])
def test_a_store_that_fails_in_part_costs_nobody_the_lease(make_site: Callable[..., Site], operation: str) -> None:
    outage = Outage([operation])
    site = make_site(outage, worker_lease=0.5)
    with lease_service(site) as (service, _), outage:
        service.child_died(DeadChild(3, frozenset(), "killed by signal 9"))
        for _ in range(3):
            (before,) = site.recorder.nodes()
            until(lambda before=before: site.recorder.nodes()[0].renewed > before.renewed, "it is renewed")


def test_renewal_goes_on_after_an_outage_and_is_told_once(
    make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage()
    site = make_site(outage, worker_lease=0.5)
    with lease_service(site):
        with outage:
            until(lambda: sum(site.broker.injected.values()) > 3, "it keeps trying")
        (before,) = site.recorder.nodes()
        until(lambda: site.recorder.nodes()[0].renewed > before.renewed, "it is renewed")
        until(lambda: "is renewed again" in caplog.text, "it is told")
    assert caplog.text.count("cannot be renewed") == 1


def test_a_worker_that_ends_with_an_outage_tells_that_it_is_over(
    make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage()
    site = make_site(outage, worker_lease=0.5)
    with lease_service(site) as (service, _):
        service._backoff = Backoff(first_s=PATIENCE_S, longest_s=PATIENCE_S)  # the next attempt is the one at the end
        with outage:
            until(lambda: "cannot be renewed" in caplog.text, "it is told")
    assert caplog.text.count("is renewed again") == 1


@pytest.mark.parametrize("seed", range(5))
def test_children_die_at_random_and_nothing_is_lost(make_site: Callable[..., Site], seed: int) -> None:
    site = make_site(RandomFaults(seed, error=0.15, lost=0.15), max_deliveries=1000)
    dice = random.Random(seed)
    for number in range(30):
        site.app.tasks["ok"].apply_async((1,), task_id=str(number))
    with lease_service(site) as (service, node_id):
        service._backoff = OPTIONS.backoff
        for child in range(1, 11):
            leases = until(
                lambda child=child: site.recorder.exchange(Owner(node_id, child), [], Claim(("celery",), 3)).leases,
                "there is work",
            )
            running = frozenset(lease.token for lease in leases[: dice.randrange(2)])
            service.child_died(DeadChild(child, running, "killed by signal 9"))
        until(lambda: [queue.ready for queue in site.recorder.queues()] == [30], "all are back")
    assert site.recorder.dead() == []
