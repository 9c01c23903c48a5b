import queue
import threading

import pytest
from msgspec import structs

from celeriac.engines.base import Ack, Bury, Commit, Exchange, Keep, Node, Owner, Receipt, Record, Requeue
from celeriac.exceptions import BrokerError, OperationalError
from celeriac.messages import Outgoing
from celeriac.retries import Backoff
from celeriac.worker.courier import Courier
from celeriac.worker.courier_options import CourierOptions
from support.waiting import until

OWNER = Owner("node-1", 1)
AT_ONCE = CourierOptions(backoff=Backoff(first_s=0.001, longest_s=0.001), look_s=30, overrun_s=30, flush_s=0.001)


class Store:
    """A broker over a list, whose claims are noted and whose calls can be made to fail."""

    def __init__(self, shares=True):
        self.shares = shares
        self.waiting = []
        self.leased = {}
        self.commits = []
        self.claims = []
        self.stored = []
        self.trouble = []
        self.refuse = set()
        self.reconnected = False
        self.changed = threading.Condition()
        self.bell = queue.SimpleQueue()
        self.waits = []

    lets_claims_stand = False

    def shares_store_with(self, results):
        return self.shares

    def exchange(self, owner, commits, claim=None):
        with self.changed:
            trouble = self.trouble.pop(0) if self.trouble else None
            if trouble == "away":
                self.changed.notify_all()
                raise OperationalError("away")
            applied = tuple(self.settle(commit) for commit in commits)
            leases = self.lend(claim) if claim is not None else ()
            self.changed.notify_all()
            if trouble == "no answer":
                raise OperationalError("no answer")
            reconnected, self.reconnected = self.reconnected, False
            return Exchange(applied, leases, reconnected=reconnected)

    def settle(self, commit):
        if commit.token in self.refuse or commit.token not in self.leased:
            return False
        self.commits.append(commit)
        if not isinstance(commit.settle, Keep):
            lease = self.leased.pop(commit.token)
            if isinstance(commit.settle, Requeue):
                self.waiting.insert(0, lease)
        return True

    def lend(self, claim):
        taken, self.waiting = self.waiting[: claim.limit], self.waiting[claim.limit :]
        if self.waiting or taken:
            self.claims.append(claim.limit)
        self.leased.update({lease.token: lease for lease in taken})
        return tuple(taken)

    def store(self, records):
        with self.changed:
            if self.trouble and self.trouble[0] == "results away":
                self.trouble.pop(0)
                raise OperationalError("away")
            self.stored += records

    def held(self, owner):
        return list(self.leased.values())

    def wait(self, timeout_s):
        self.waits.append(timeout_s)
        try:
            self.bell.get(timeout=timeout_s)
        except queue.Empty:
            pass

    def wake(self):
        self.bell.put(None)

    def until(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, 30), "it did not happen"

    def settled(self, kind):
        return [commit.token for commit in self.commits if isinstance(commit.settle, kind)]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def turn():
    """The courier's clock: `turn.now += 1`."""
    return Clock()


@pytest.fixture
def start(store, turn):
    couriers = []

    def start(options=AT_ONCE, **more):
        courier = Courier(store, store, OWNER, ("celery",), options, monotonic=turn, **more)
        couriers.append(courier)
        courier.start()
        return courier

    yield start
    store.trouble.clear()
    for courier in couriers:
        courier.stop()
        for token in list(store.leased):  # what the test left running
            courier.settle(Commit(token, Ack()))
        assert courier.join(30)


@pytest.fixture
def fill(store, make_lease):
    def fill(count, first=1):
        with store.changed:
            store.waiting += [make_lease(token=first + number, id=f"id-{first + number}") for number in range(count)]
        store.wake()

    return fill


def finish(courier, lease, settle=None, record=None):
    courier.settle(Commit(lease.token, settle or Ack(), record))


def test_what_waits_is_run_and_settled_in_order(store, start, fill):
    fill(5)
    courier = start()
    ran = []
    for _ in range(5):
        lease = courier.next()
        ran.append(lease.token)
        finish(courier, lease)
    courier.stop()
    assert courier.next() is None
    assert courier.join(30)
    assert ran == [1, 2, 3, 4, 5]
    assert store.settled(Ack) == [1, 2, 3, 4, 5]
    assert courier.lost == 0


def test_it_begins_with_a_claim_of_one(store, start, fill):
    fill(100)
    courier = start()
    courier.next()
    assert store.claims == [1]


def test_the_batch_grows_while_tasks_are_fast(store, start, fill):
    fill(300)
    courier = start()
    for _ in range(300):
        finish(courier, courier.next())
    assert max(store.claims) > 50


def test_the_batch_has_a_bound(store, start, fill):
    fill(300)
    courier = start(structs.replace(AT_ONCE, most_ahead=8))
    for _ in range(300):
        finish(courier, courier.next())
    assert max(store.claims) <= 8


def test_slow_tasks_are_claimed_one_at_a_time(store, start, fill, turn):
    fill(10)
    courier = start()
    for _ in range(10):
        lease = courier.next()
        turn.now += 1.0
        assert len(store.leased) == 1
        finish(courier, lease)
    assert set(store.claims) == {1}


def test_one_long_task_is_enough_to_claim_one_at_a_time_again(store, start, fill, turn):
    fill(100)
    courier = start()
    for _ in range(99):
        finish(courier, courier.next())
    lease = courier.next()
    turn.now += 10
    finish(courier, lease)
    store.until(lambda: not store.leased)
    before = len(store.claims)
    fill(2, first=101)
    courier.next()
    assert store.claims[before:] == [1]


def test_what_waits_behind_a_long_task_goes_back(store, start, fill, turn):
    fill(300)
    courier = start(structs.replace(AT_ONCE, overrun_s=0.1))
    for _ in range(100):
        finish(courier, courier.next())
    running = courier.next()
    store.until(lambda: len(store.leased) > 10)
    turn.now += 1.0
    store.wake()
    store.until(lambda: set(store.leased) == {running.token})
    assert len(store.settled(Requeue)) > 10
    finish(courier, running)
    store.until(lambda: running.token in store.settled(Ack))


def test_what_was_given_back_was_not_counted_as_a_delivery(store, start, fill, turn):
    test_what_waits_behind_a_long_task_goes_back(store, start, fill, turn)
    assert {commit.settle for commit in store.commits if isinstance(commit.settle, Requeue)} == {Requeue()}


def test_stop_gives_back_the_unstarted_and_settles_the_running(store, start, fill):
    fill(300)
    courier = start()
    for _ in range(100):
        finish(courier, courier.next())
    running = courier.next()
    store.until(lambda: len(store.leased) > 10)
    courier.stop()
    store.until(lambda: set(store.leased) == {running.token})
    assert courier.next() is None
    assert not courier.join(0)
    finish(courier, running)
    assert courier.join(30)
    assert store.leased == {}
    assert store.settled(Ack) == list(range(1, 102))
    assert len(store.waiting) == 300 - 101


def test_an_idle_courier_stops_at_once(start):
    courier = start()
    courier.stop()
    courier.stop()
    assert courier.next() is None
    assert courier.join(30)


def test_a_report_is_stored_while_the_task_runs(store, start, fill):
    fill(1)
    courier = start()
    lease = courier.next()
    courier.report(Commit(lease.token, Keep(), Record("id-1", b"{}")))
    store.until(lambda: store.settled(Keep) == [1])
    assert 1 in store.leased


def test_of_what_a_run_reports_while_the_store_is_away_only_the_newest_is_kept(store, start, fill):
    fill(1)
    courier = start()
    lease = courier.next()
    store.trouble = ["away"] * 1000
    for number in range(500):
        courier.report(Commit(lease.token, Keep(), Record("id-1", b"%d" % number)))
    finish(courier, lease)
    store.trouble.clear()
    store.until(lambda: store.settled(Ack) == [1])
    bodies = [commit.record.body for commit in store.commits if isinstance(commit.settle, Keep)]
    assert len(bodies) <= 2  # one may have left before the store went away
    assert bodies[-1] == b"499"


def test_a_refused_commit_is_counted_and_logged(store, start, fill, caplog):
    fill(1)
    courier = start()
    lease = courier.next()
    store.refuse.add(lease.token)
    finish(courier, lease)
    fill(1, first=2)
    courier.next()
    assert courier.lost == 1
    assert "lost its lease" in caplog.text


def test_commits_outlast_an_outage(store, start, fill, caplog):
    fill(1)
    courier = start()
    lease = courier.next()
    store.trouble = ["away"] * 5
    finish(courier, lease, Bury("why"))
    store.until(lambda: store.settled(Bury) == [1])
    fill(1, first=2)
    assert courier.next().token == 2
    assert caplog.text.count("The broker cannot be used") == 1
    assert caplog.text.count("The broker is back") == 1
    assert courier.lost == 0


def test_a_commit_whose_answer_was_lost_is_no_lost_lease(store, start, fill):
    fill(1)
    courier = start()
    lease = courier.next()
    store.trouble = ["no answer"]
    finish(courier, lease)
    store.until(lambda: not store.trouble)
    fill(1, first=2)
    assert courier.next().token == 2
    assert store.settled(Ack) == [1]
    assert courier.lost == 0


def test_a_claim_whose_answer_was_lost_is_adopted(store, start, fill):
    store.trouble = ["no answer"]
    fill(1)
    courier = start()
    lease = courier.next()
    assert lease.token == 1
    finish(courier, lease)
    courier.stop()
    assert courier.next() is None
    assert courier.join(30)
    assert store.settled(Ack) == [1]


def test_what_is_adopted_is_run_once(store, start, fill):
    fill(20)
    store.trouble = ["no answer", "away", "no answer", "no answer"]
    courier = start()
    ran = []
    for _ in range(20):
        lease = courier.next()
        ran.append(lease.token)
        store.trouble += ["no answer"] if lease.token % 3 == 0 else []
        finish(courier, lease)
    courier.stop()
    assert courier.next() is None
    assert courier.join(30)
    assert sorted(ran) == list(range(1, 21))
    assert sorted(store.settled(Ack)) == list(range(1, 21))


def test_a_wait_that_fails_does_not_end_the_courier(store, start, fill, monkeypatch):
    failed = threading.Event()
    wait = store.wait

    def broken(timeout_s):
        if not failed.is_set():
            failed.set()
            raise OSError("no such bell")
        wait(timeout_s)

    monkeypatch.setattr(store, "wait", broken)
    courier = start()
    assert failed.wait(30)
    fill(1)
    assert courier.next().token == 1


def test_an_error_that_will_not_go_away_does_not_end_the_courier_either(store, start, fill, monkeypatch):
    exchange, calls = store.exchange, []

    def broken(owner, commits, claim=None):
        calls.append(claim)
        if len(calls) < 3:
            raise BrokerError("read-only")
        return exchange(owner, commits, claim)

    monkeypatch.setattr(store, "exchange", broken)
    fill(1)
    assert start().next().token == 1


def test_an_idle_courier_waits_parked_for_as_long_as_it_may(store, start):
    courier = start(structs.replace(AT_ONCE, look_s=29))
    while not store.waits:
        threading.Event().wait(0.001)
    assert store.waits[0] == pytest.approx(29, abs=0.5)
    courier.stop()


@pytest.mark.parametrize(
    ("trouble", "held", "expected"), [([], True, True), (["away", "away"], True, True), ([], False, False)]
)
def test_begin_asks_until_it_knows(store, make_lease, turn, trouble, held, expected):
    courier = Courier(store, store, OWNER, ("celery",), AT_ONCE, monotonic=turn)
    store.trouble = trouble
    lease = make_lease(token=7)
    if held:
        store.leased[7] = lease
    assert courier.begin(lease) is expected
    assert [commit.settle for commit in store.commits] == ([Keep(begun=True)] if held else [])


def test_a_commit_that_cannot_be_written_is_buried_alone(store, start, fill, monkeypatch):
    settle = store.settle

    def strict(commit):
        if commit.record is not None:
            raise OverflowError("a bug")
        return settle(commit)

    monkeypatch.setattr(store, "settle", strict)
    fill(2)
    courier = start()
    finish(courier, courier.next(), record=Record("id-1", b"{}"))
    store.until(lambda: store.settled(Bury) == [1])
    finish(courier, courier.next())
    store.until(lambda: store.settled(Ack) == [2])
    assert "OverflowError('a bug')" in store.commits[0].settle.reason


# ── results in another store ──


@pytest.fixture
def apart(store):
    store.shares = False
    return store


def test_a_result_of_another_store_is_stored_before_the_task_is_acknowledged(apart, start, fill):
    fill(1)
    courier = start()
    lease = courier.next()
    record = Record("id-1", b"{}")
    finish(courier, lease, record=record)
    apart.until(lambda: apart.settled(Ack) == [1])
    assert apart.stored == [record]
    assert apart.commits[0].record is None


def test_while_the_results_are_away_nothing_is_acknowledged(apart, start, fill):
    fill(1)
    courier = start()
    lease = courier.next()
    record = Record("id-1", b"{}")
    apart.trouble = ["results away"] * 3
    finish(courier, lease, record=record)
    apart.until(lambda: apart.settled(Ack) == [1])
    assert apart.stored[-1] == record


# ── several slots ──


def test_it_claims_for_every_free_slot(store, start, fill):
    fill(10)
    courier = start(slots=4)
    running = [courier.next() for _ in range(4)]
    assert len({lease.token for lease in running}) == 4
    store.until(lambda: len(store.leased) == 4)
    assert sum(store.claims) == 4


def test_it_asks_until_all_slots_are_busy_or_there_is_nothing(store, start, fill):
    fill(5)
    courier = start(structs.replace(AT_ONCE, most_ahead=2, look_s=120), slots=8)
    store.until(lambda: len(store.leased) == 5)
    assert len(courier.take(8)) == 5


def test_a_slot_that_becomes_free_is_filled_and_the_others_are_left_alone(store, start, fill, turn):
    fill(10)
    courier = start(slots=3)
    running = [courier.next() for _ in range(3)]
    turn.now += 1.0
    finish(courier, running.pop(1))
    assert courier.next().token == 4
    assert set(store.leased) == {1, 3, 4}
    assert store.settled(Ack) == [2]


def test_fast_tasks_are_claimed_ahead_for_all_slots_together(store, start, fill):
    fill(300)
    courier = start(slots=2)
    for _ in range(150):
        pair = [courier.next(), courier.next()]
        for lease in pair:
            finish(courier, lease)
    assert max(store.claims) > 50


def test_one_long_run_beside_a_free_slot_sends_nothing_back(store, start, fill, turn):
    fill(40)
    courier = start(structs.replace(AT_ONCE, overrun_s=0.1), slots=2)
    long = courier.next()
    for _ in range(20):
        turn.now += 0.06
        finish(courier, courier.next())
    assert store.settled(Requeue) == []
    assert long.token in store.leased


def test_when_all_slots_are_busy_for_long_the_rest_goes_back(store, start, fill, turn):
    fill(300)
    courier = start(structs.replace(AT_ONCE, overrun_s=0.1), slots=2)
    for _ in range(100):
        finish(courier, courier.next())
    running = {courier.next().token, courier.next().token}
    store.until(lambda: len(store.leased) > 10)
    turn.now += 1.0
    store.wake()
    store.until(lambda: set(store.leased) == running)


def test_at_the_stop_every_waiting_slot_is_told(store, start):
    courier = start(slots=3)
    ends = []
    threads = [threading.Thread(target=lambda: ends.append(courier.next())) for _ in range(3)]
    for thread in threads:
        thread.start()
    courier.stop()
    for thread in threads:
        thread.join(30)
    assert ends == [None] * 3
    assert courier.join(30)


def test_many_threads_run_each_lease_once(store, start, fill):
    fill(2000)
    courier = start(slots=8)
    ran = queue.SimpleQueue()

    def run():
        while (lease := courier.next()) is not None:
            ran.put(lease.token)
            finish(courier, lease)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    store.until(lambda: len(store.settled(Ack)) == 2000)
    courier.stop()
    for thread in threads:
        thread.join(30)
    assert courier.join(30)
    assert sorted(ran.get() for _ in range(ran.qsize())) == list(range(1, 2001))
    assert courier.lost == 0


def test_take_gives_what_there_is_and_never_waits(store, start, fill):
    delivered = threading.Semaphore(0)
    courier = start(slots=4, on_delivery=delivered.release)
    assert courier.take(4) == []
    fill(4)
    assert delivered.acquire(timeout=30)
    assert [lease.token for lease in courier.take(3)] == [1, 2, 3]
    assert [lease.token for lease in courier.take(3)] == [4]
    for token in range(1, 5):
        courier.settle(Commit(token, Ack()))
    courier.stop()
    assert courier.join(30)
    assert delivered.acquire(timeout=30)  # also of the end
    assert courier.take(4) is None


# ── a last chance ──


@pytest.fixture
def suspect(store, make_lease):
    """Put a message that has been in two crashes at the end of the queue."""

    def suspect(token):
        with store.changed:
            store.waiting.append(make_lease(token=token, id=f"id-{token}", deliveries=3))
        store.wake()

    return suspect


def test_a_message_with_its_last_chance_runs_alone(store, start, fill, suspect):
    fill(2)
    courier = start(slots=4, last_delivery=3)
    others = [courier.next(), courier.next()]
    suspect(3)
    store.until(lambda: 3 in store.leased)
    fill(5, first=4)
    assert courier.take(4) == []
    finish(courier, others[0])
    store.until(lambda: store.settled(Ack) == [1])
    assert courier.take(4) == []
    finish(courier, others[1])
    assert courier.next().token == 3
    store.until(lambda: set(store.leased) == {3})  # nothing else comes meanwhile
    assert courier.take(4) == []
    finish(courier, structs.replace(others[0], token=3))
    assert courier.next().token == 4


def test_it_does_not_wait_for_ever_for_the_others_nor_they_for_it(store, start, fill, suspect, turn):
    fill(1)
    courier = start(slots=4, last_delivery=3)
    courier.next()
    suspect(2)
    store.until(lambda: 2 in store.leased)
    fill(1, first=3)
    turn.now += 11
    store.wake()
    assert courier.next().token == 2
    turn.now += 11
    store.wake()
    assert courier.next().token == 3


def test_what_waits_to_run_alone_goes_back_at_the_stop(store, start, fill, suspect):
    fill(1)
    courier = start(slots=4, last_delivery=3)
    running = courier.next()
    suspect(2)
    store.until(lambda: 2 in store.leased)
    courier.stop()
    store.until(lambda: set(store.leased) == {running.token})
    assert store.settled(Requeue) == [2]


def test_with_one_slot_every_run_is_alone(store, start, suspect):
    suspect(1)
    suspect(2)
    courier = start(last_delivery=3)
    assert courier.next().token == 1


# ── an allowance ──


@pytest.mark.parametrize("slots", [1, 3])
def test_with_an_allowance_it_claims_no_more_and_ends_by_itself(store, start, fill, slots):
    fill(100)
    courier = start(slots=slots, allowance=10)
    ran = []
    while (lease := courier.next()) is not None:
        ran.append(lease.token)
        finish(courier, lease)
    assert courier.join(30)
    assert ran == list(range(1, 11))
    assert courier.spent
    assert store.settled(Ack) == ran
    assert store.settled(Requeue) == []
    assert len(store.waiting) == 90


def test_what_was_given_back_is_not_taken_off_the_allowance(store, start, fill, turn):
    fill(300)
    courier = start(structs.replace(AT_ONCE, overrun_s=0.1), allowance=150)
    for _ in range(100):
        finish(courier, courier.next())
    running = courier.next()
    store.until(lambda: len(store.leased) > 10)
    turn.now += 1.0
    store.wake()
    store.until(lambda: set(store.leased) == {running.token})
    finish(courier, running)
    ran = 101
    while (lease := courier.next()) is not None:
        ran += 1
        finish(courier, lease)
    assert ran == 150


# ── the real engine ──


def test_a_thousand_messages_of_a_store_in_memory(app, make_message):
    app.broker.register(Node(OWNER.node, "w@h", "h", 1, "solo", 1, ("celery",)))
    app.broker.publish([Outgoing(make_message(id=f"id-{n}"), "celery") for n in range(1000)], Receipt("p", 1))
    courier = Courier(app.broker, app.results, OWNER, ("celery",))
    courier.start()
    for _ in range(1000):
        lease = courier.next()
        finish(courier, lease, record=Record(lease.message.id, b"{}"))
    courier.stop()
    assert courier.next() is None
    assert courier.join(30)
    assert app.broker.queues() == []
    assert len(app.results.get([f"id-{n}" for n in range(1000)])) == 1000
    assert courier.lost == 0


def test_what_a_restart_of_the_store_took_back_is_run_again(store, start, fill):
    """The commit was answered, then taken back, and nothing failed: the connection was idle."""
    fill(1)
    courier = start()
    lease = courier.next()
    finish(courier, lease)
    store.until(lambda: store.settled(Ack) == [1])
    with store.changed:
        store.leased[lease.token] = lease
        store.reconnected = True
    store.wake()
    again = courier.next()
    assert again.token == lease.token
    assert courier.adopted == 1
    finish(courier, again)
    store.until(lambda: store.settled(Ack) == [1, 1])


# ── leases that are taken away ───────────────────────────────────────────────────────────────────────────────────────


def test_an_abandoned_courier_claims_and_commits_nothing_more_and_counts_what_was_lost(store, start, fill):
    fill(300)
    courier = start()
    for _ in range(100):
        finish(courier, courier.next())
    running = courier.next()
    store.until(lambda: len(store.leased) > 10)
    courier.abandon()
    courier.abandon()
    assert courier.next() is None
    assert courier.take(5) in (None, [])
    assert courier.join(30)
    claims, commits = len(store.claims), len(store.commits)
    assert courier.lost == 100 - len(store.settled(Ack))
    before = courier.lost
    finish(courier, running)
    assert courier.lost == before + 1
    assert (len(store.claims), len(store.commits)) == (claims, commits)
    assert running.token in store.leased


def test_an_abandoned_courier_ends_though_the_store_is_away(store, start, fill):
    fill(1)
    slow = CourierOptions(backoff=Backoff(first_s=3600, longest_s=3600), look_s=30, flush_s=0.001)
    courier = start(slow)
    running = courier.next()
    store.trouble += ["away"] * 1000
    finish(courier, running)
    store.until(lambda: len(store.trouble) < 1000)
    courier.abandon()
    assert courier.join(30)
    assert courier.lost == 1


def test_an_at_most_once_run_does_not_wait_for_a_store_when_its_lease_is_lost(store, start, fill):
    fill(1)
    courier = start()
    running = courier.next()
    store.trouble += ["away"] * 100_000
    answers = []
    thread = threading.Thread(target=lambda: answers.append(courier.begin(running)))
    thread.start()
    store.until(lambda: len(store.trouble) < 100_000)
    courier.abandon()
    thread.join(30)
    assert answers == [False]


def test_what_is_declined_goes_back_and_is_no_loss_if_it_was_taken_away(store, start, fill):
    fill(2)
    courier = start(slots=2)
    first, second = courier.next(), courier.next()
    with store.changed:
        store.refuse.add(first.token)
    courier.decline(first)
    courier.decline(second)
    store.until(lambda: store.settled(Requeue) == [second.token])
    assert courier.next().token == second.token
    assert courier.lost == 0


def test_what_is_declined_is_not_taken_off_the_allowance(store, start, fill):
    fill(3)
    courier = start(allowance=2)
    courier.decline(courier.next())
    for _ in range(2):
        finish(courier, courier.next())
    assert courier.next() is None
    assert courier.join(30)
    assert len(store.settled(Ack)) == 2
    assert courier.spent


def test_what_is_adopted_when_the_allowance_is_spent_goes_back_and_the_process_ends(store, start, fill, make_lease):
    fill(1)
    courier = start(allowance=1)
    last = courier.next()
    with store.changed:  # an unanswered claim, found out with the last commit
        store.leased[99] = make_lease(token=99)
        store.reconnected = True
    finish(courier, last)
    assert courier.next() is None
    assert courier.join(30)
    assert (store.settled(Ack), store.settled(Requeue)) == ([last.token], [99])
    assert courier.spent


def test_what_never_ran_is_no_loss_when_the_lease_is(store, start, fill):
    fill(1)
    courier = start()
    lease = courier.next()
    courier.abandon()
    assert not courier.begin(lease)
    courier.settle(Commit(lease.token, Requeue()))
    assert courier.join(30)
    assert courier.lost == 0


class Pulse:
    def __init__(self):
        self.shown = [False]

    def beat(self):
        self.shown.append(True)

    def rest(self):
        self.shown.append(False)


def test_the_pulse_beats_while_something_waits_and_rests_when_nothing_does(store, start, fill):
    pulse = Pulse()
    fill(300)
    courier = start(pulse=pulse)
    for _ in range(100):
        finish(courier, courier.next())
    store.until(lambda: len(store.leased) > 10)
    assert True in pulse.shown
    for _ in range(200):
        finish(courier, courier.next())
    store.until(lambda: not store.leased)
    store.wake()
    before = len(pulse.shown)
    store.until(lambda: len(pulse.shown) > before or store.wake())
    assert pulse.shown[-1] is False


def test_a_slot_with_nothing_left_settles_and_claims_by_itself(store, start, fill):
    threads = []
    exchange = store.exchange
    store.exchange = lambda *args: threads.append((threading.current_thread(), bool(args[1]))) or exchange(*args)
    fill(2)
    courier = start()
    for token in (1, 2):
        finish(courier, courier.next())
        store.until(lambda token=token: store.settled(Ack)[-1:] == [token])
    settling = {thread for thread, settles in threads if settles}
    assert threading.current_thread() in settling


def test_what_cannot_be_settled_in_the_slot_is_left_to_the_courier(store, start, fill):
    fill(1)
    courier = start()
    lease = courier.next()
    store.trouble = ["away", "away", "away"]
    finish(courier, lease)
    store.until(lambda: store.settled(Ack) == [lease.token])


def test_an_event_loop_never_settles_by_itself(store, start, fill):
    threads = []
    exchange = store.exchange
    store.exchange = lambda *args: threads.append(threading.current_thread()) or exchange(*args)
    delivered = threading.Event()
    courier = start(on_delivery=delivered.set)
    fill(1)
    assert delivered.wait(30)
    (lease,) = courier.take(1)
    finish(courier, lease)
    store.until(lambda: store.settled(Ack) == [lease.token])
    assert threading.current_thread() not in threads


@pytest.fixture
def standing(store):
    """The store lets claims stand, and counts who else claims."""

    def stand(owner, claim, within_s):
        store.stood.append(claim)
        store.wait(within_s)
        if store.lost_answers:
            store.lost_answers.pop()
            with store.changed:
                store.lend(claim)
            raise OperationalError("no answer")
        with store.changed:
            return Exchange((), store.lend(claim)) if store.waiting else None

    def exchange(owner, commits, claim=None):
        store.claimed += claim is not None
        return type(store).exchange(store, owner, commits, claim)

    store.lets_claims_stand, store.stood, store.claimed, store.lost_answers = True, [], 0, []
    store.stand, store.exchange = stand, exchange
    return store


def test_an_idle_courier_lets_its_claim_stand_and_claims_nothing_more_itself(standing, start, fill):
    courier = start()
    standing.until(lambda: standing.stood or standing.wake())
    assert standing.claimed == 1
    fill(1)
    lease = courier.next()
    assert standing.claimed == 1
    finish(courier, lease)
    standing.until(lambda: standing.settled(Ack) == [lease.token])
    assert standing.claimed == 2


def test_what_a_standing_claim_got_whose_answer_was_lost_is_run(standing, start, fill):
    courier = start()
    standing.until(lambda: standing.stood or standing.wake())
    standing.lost_answers.append(1)
    standing.reconnected = True  # as an engine says then
    fill(1)
    lease = courier.next()
    assert courier.adopted == 1
    finish(courier, lease)
    standing.until(lambda: standing.settled(Ack) == [lease.token])


def test_what_a_standing_claim_has_got_goes_back_at_the_end(standing, start, make_lease):
    courier = start()
    standing.until(lambda: standing.stood or standing.wake())
    standing.leased[7] = make_lease(token=7, id="id-7")  # claimed, and the answer is on its way
    standing.reconnected = True
    courier.stop()
    assert courier.next() is None
    assert courier.join(30)
    assert standing.settled(Requeue) == [7]


def test_the_pulse_beats_while_a_claim_stands(standing, start):
    """It may be answered, and this process not know of it because it hangs."""
    pulse = Pulse()
    courier = start(pulse=pulse)
    until(lambda: len(standing.stood) > 2 or standing.wake(), "it stands, again and again")
    assert pulse.shown[-1] is True
    courier.stop()


def test_an_idle_couriers_pulse_never_beats(store, start):
    pulse = Pulse()
    courier = start(structs.replace(AT_ONCE, look_s=0.001), pulse=pulse)
    store.until(lambda: len(store.waits) > 20 or store.wake())
    assert True not in pulse.shown
    courier.stop()


def test_nothing_is_kept_of_what_is_over(store, start, fill):
    fill(20)
    courier = start()
    for number in range(1, 21):
        lease = courier.next()
        courier.report(Commit(lease.token, Keep(), Record(f"id-{number}", b"{}")))
        finish(courier, lease)
    assert courier.sizes().keys() >= {"leases held", "commits to send", "reports to send"}
    store.until(lambda: len(store.settled(Ack)) == 20)
    courier.stop()
    assert courier.join(30)
    assert set(courier.sizes().values()) <= {0, 1}  # the one is the word that there is no more
