"""Ending single runs: the one that was meant, or none."""

import os
import random
import signal
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from celeriac.engines.base import Revoked, RevokedLease
from celeriac.exceptions import OperationalError, Terminated
from celeriac.execution.calls import Call
from celeriac.messages import Malformed
from celeriac.worker.board import Board
from celeriac.worker.callers import SlotCaller
from celeriac.worker.limits.limiter import Limiter
from celeriac.worker.revocations import RevocationWatch, Terminations
from celeriac.worker.revoked_runs import RevokedRun
from support.waiting import until

_TRIALS = 3_000
_RUNS = 1_000


@pytest.fixture
def board():
    board = Board.create(slots=2)
    yield board
    board.close()


@pytest.fixture
def sent(monkeypatch):
    """The signals that were sent."""
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def lease(token=7, name="SIGTERM", child=1):
    return RevokedLease(child, token, "q", Malformed(b"", ""), name)


@contextmanager
def quick_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


# ── with its process ──


def test_a_run_gets_the_signal_that_was_asked_for(board, sent):
    board.begin(1, 7)
    assert RevokedRun(board, 4711, lease(name="SIGUSR1")).begin()
    assert sent == [(4711, signal.SIGUSR1)]
    assert board.doomed


def test_a_signal_that_this_system_lacks_is_sigterm(board, sent):
    board.begin(0, 7)
    assert RevokedRun(board, 4711, lease(name="SIGELSEWHERE")).begin()
    assert sent == [(4711, signal.SIGTERM)]


def test_a_run_that_has_ended_is_left_alone(board, sent):
    board.begin(0, 8)
    assert not RevokedRun(board, 4711, lease(7)).begin()
    assert sent == []
    assert not board.doomed


def test_a_run_that_has_cleaned_up_is_killed_at_once_and_the_next_cannot_begin(board, sent):
    board.begin(0, 7)
    revoked_run = RevokedRun(board, 4711, lease())
    assert revoked_run.begin()
    revoked_run.look()
    assert sent == [(4711, signal.SIGTERM)]
    assert revoked_run.cut_short
    child = threading.Thread(target=lambda: (board.end(0), board.begin(0, 8)))
    child.start()
    until(lambda: not board.runs(0, 7), "the run has ended")
    revoked_run.look()
    assert sent == [(4711, signal.SIGTERM), (4711, signal.SIGKILL)]
    assert not revoked_run.cut_short
    assert board.running() == set()
    board.pardon(0)
    child.join(30)


def test_a_run_that_lives_on_is_killed_a_little_later(board, sent, monkeypatch):
    board.begin(0, 7)
    revoked_run = RevokedRun(board, 4711, lease())
    assert revoked_run.begin()
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    revoked_run.look()
    assert sent[1:] == [(4711, signal.SIGKILL)]
    assert revoked_run.cut_short


def test_a_thousand_runs_ended_around_their_end_are_judged_once(board, sent, record_property):
    """Whose process is sent a signal has not ended and goes no further."""
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    went_on, ended, current = set(), [], [0]

    def child():
        for token in range(1, _RUNS + 1):
            board.begin(0, token)
            current[0] = token
            time.sleep(chance.uniform(0, 0.003))
            board.end(0)
            went_on.add(token)

    thread = threading.Thread(target=child)
    thread.start()
    while thread.is_alive():
        time.sleep(0.0003)
        token = current[0]
        if token and RevokedRun(board, 4711, lease(token)).begin():
            # In truth its process is about to die. Here it is let go a little later.
            assert token not in went_on
            time.sleep(0.0005)
            assert token not in went_on, "it went on although it was to be ended"
            ended.append(token)
            board.pardon(0)
    assert len(went_on) == _RUNS
    assert ended
    assert len(sent) == len(ended)
    record_property("figure", f"{len(set(ended))} of {_RUNS} runs would have been ended, 0 of them had gone on")


# ── inside of its process ──


def spin(for_s):
    end = time.perf_counter() + for_s
    while time.perf_counter() < end:
        pass


@pytest.mark.parametrize("where", ["main thread", "another thread"])
def test_a_termination_around_the_end_of_a_call_hits_that_one_or_none(where, record_property):
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    terminations = Terminations()
    hits, problems, asked = [0], [], []
    running = threading.Event()

    def terminate():
        while running.is_set():
            if asked:
                token, at = asked.pop()
                spin(max(0.0, at - time.perf_counter()))
                terminations.terminate(token, 15)

    def calls():
        caller = SlotCaller(Limiter(), None, 0, terminations)
        for token in range(1, _TRIALS + 1):
            for_s = chance.uniform(0, 0.0004)
            victim = token % 3 != 0
            if victim:
                asked.append((token, time.perf_counter() + for_s * chance.uniform(0.3, 1.7)))
            try:
                caller.call(Call(spin, (for_s,), {}, token=token))
            except Terminated as error:
                hits[0] += 1
                if not victim or error.signum != 15:
                    problems.append(token)
            spin(0.00005)  # nothing may come between the calls either

    running.set()
    terminator = threading.Thread(target=terminate)
    terminator.start()
    try:
        with quick_switches():
            if where == "main thread":
                calls()
            else:
                slot = threading.Thread(target=calls)
                slot.start()
                slot.join(120)
                assert not slot.is_alive()
    finally:
        running.clear()
        terminator.join()
    assert problems == []
    assert hits[0] > 0
    record_property("figure", f"{hits[0]} of {_TRIALS} calls ended, 0 wrong ones")


def test_what_a_task_makes_of_its_termination_does_not_count():
    terminations = Terminations()
    caller = SlotCaller(Limiter(), None, 0, terminations)

    def stubborn():
        try:
            while True:
                time.sleep(0.001)
        except Terminated:
            return "went on"

    threading.Timer(0.05, terminations.terminate, (7, 9)).start()
    with pytest.raises(Terminated) as raised:
        caller.call(Call(stubborn, (), {}, token=7))
    assert raised.value.signum == 9


def test_except_exception_does_not_catch_a_termination():
    terminations = Terminations()
    caller = SlotCaller(Limiter(), None, 0, terminations)
    caught = []

    def careless():
        while True:
            try:
                time.sleep(0.001)
            except Exception as error:
                caught.append(error)

    threading.Timer(0.05, terminations.terminate, (7, 9)).start()
    with pytest.raises(Terminated):
        caller.call(Call(careless, (), {}, token=7))
    assert caught == []


def test_a_termination_of_what_does_not_run_does_nothing():
    Terminations().terminate(7, 15)


# ── who notices ──


class Store:
    """Answers as it is told; the last answer for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def revoked(self, node_id, since):
        self.asked.append(since)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def watch(monkeypatch):
    monkeypatch.setattr("celeriac.worker.revocations._LOOK_S", 0.001)
    started = []

    def watch(store):
        found = []
        one = RevocationWatch(store, lambda: "node", found.append)
        one.start()
        started.append(one)
        return found

    yield watch
    for one in started:
        one.stop()
        one.join()


def test_a_revocation_is_told_once(watch):
    store = Store(Revoked(3), Revoked(5, (lease(name=None),)), Revoked(5))
    found = watch(store)
    until(lambda: len(store.asked) > 5, "it looks again")
    assert found == [lease(name=None)]
    assert store.asked[:4] == [0, 3, 5, 5]


def test_a_run_that_is_to_be_ended_is_told_until_it_has(watch):
    store = Store(Revoked(5, (lease(),)), Revoked(5, (lease(),)), Revoked(5))
    found = watch(store)
    until(lambda: len(store.asked) > 5, "it looks again")
    assert found == [lease(), lease()]
    assert store.asked[:5] == [0, 0, 0, 5, 5]


def test_what_keeps_going_wrong_is_said_once(watch, caplog):
    store = Store(ValueError("odd"), ValueError("odd"), Revoked(5), OperationalError("away"), Revoked(5))
    watch(store)
    until(lambda: len(store.asked) > 5, "it looks on")
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_an_outage_and_what_should_not_happen_do_not_end_it(watch):
    store = Store(OperationalError("away"), ValueError("odd"), Revoked(5, (lease(name=None),)), Revoked(5))
    found = watch(store)
    until(lambda: found, "it looks on")
