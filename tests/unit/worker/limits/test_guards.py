"""A soft limit is raised in the call it was meant for and in no other, however close to its end the moment comes."""

import asyncio
import random
import signal
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from celeriac.exceptions import LeaseLost, SoftTimeLimitExceeded, TimeLimitExceeded
from celeriac.execution.calls import Call
from celeriac.worker.limits.guards import MainThreadGuard, ThreadGuard, guard_of_this_thread
from celeriac.worker.limits.limiter import Limit, Limiter

_TRIALS = 10_000


@contextmanager
def quick_switches():
    """Threads take turns often, so that the limiter comes at any moment."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def in_a_thread(work):
    """What `work` returns or raises, when it runs in a thread of its own."""
    outcome = []

    def run():
        try:
            outcome.append(work())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert outcome, "it hangs"
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


@pytest.fixture(params=["signal", "asynchronous exception"])
def with_guard(request):
    """Do something with a guard, in a thread that it fits."""

    def with_guard(work):
        def run():
            guard = guard_of_this_thread(Limiter())
            assert type(guard) is (MainThreadGuard if request.param == "signal" else ThreadGuard)
            return work(guard)

        return run() if request.param == "signal" else in_a_thread(run)

    return with_guard


def soft(after_s):
    return [Limit(time.monotonic() + after_s, SoftTimeLimitExceeded())]


def spin(for_s):
    end = time.perf_counter() + for_s
    while time.perf_counter() < end:
        pass


def nothing():
    pass


def test_ten_thousand_moments_around_the_end_hit_their_own_call_or_none(with_guard, record_property):
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)

    def trials(guard):
        raised = not_raised = late = 0
        for number in range(_TRIALS):
            for_s = chance.uniform(0, 0.0004)
            inside = []

            def task(for_s=for_s, inside=inside, work=spin if number % 4 else time.sleep):
                try:
                    work(for_s)
                except SoftTimeLimitExceeded:
                    inside.append("raised")
                    raise

            # Every third call has no reason to be interrupted: whatever comes there was meant for the one before.
            limits = soft(for_s * chance.uniform(0.3, 1.7)) if number % 3 else soft(3600)
            try:
                guard.run(Call(task, (), {}), limits)
            except SoftTimeLimitExceeded:
                assert limits[0].struck, f"call {number} was hit by another's limit"
                raised += 1
                late += not inside  # after the task's last line, in the call all the same
            else:
                assert not inside
                not_raised += 1
                assert not (limits[0].struck and isinstance(guard, MainThreadGuard)), f"call {number} lost its limit"
            spin(chance.uniform(0, 0.00005))  # nothing may come between the calls either
        return raised, not_raised, late

    with quick_switches():
        raised, not_raised, late = with_guard(trials)
    assert raised + not_raised == _TRIALS
    assert raised > _TRIALS / 50
    assert not_raised > _TRIALS / 3
    record_property("figure", f"{raised} of {_TRIALS} calls interrupted ({late} at their very end), 0 wrong ones")


def test_a_loop_is_interrupted(with_guard):
    def work(guard):
        with pytest.raises(SoftTimeLimitExceeded):
            guard.run(Call(spin, (60,), {}), soft(0.01))

    with_guard(work)


def test_the_task_may_catch_it_and_return(with_guard):
    def task():
        try:
            spin(60)
        except SoftTimeLimitExceeded:
            return "cleaned up"

    assert with_guard(lambda guard: guard.run(Call(task, (), {}), soft(0.01))) == "cleaned up"


def test_a_call_in_time_is_left_alone(with_guard):
    assert with_guard(lambda guard: guard.run(Call(max, (1, 2), {}), soft(60))) == 2


def test_an_error_of_the_tasks_own_passes(with_guard):
    def fail():
        raise KeyError("mine")

    def work(guard):
        with pytest.raises(KeyError, match="mine"):
            guard.run(Call(fail, (), {}), soft(60))

    with_guard(work)


def test_the_limiter_lets_a_limit_of_an_earlier_call_go(with_guard):
    def work(guard):
        guard.run(Call(nothing, (), {}), soft(0.02))
        guard.run(Call(spin, (0.05,), {}), soft(60))

    with_guard(work)


def test_code_that_holds_the_stores_locks_is_let_out_first(with_guard):
    """The frame's module is what counts: one of an engine is not interrupted, and its caller is, right afterwards."""
    done = []
    namespace = {"__name__": "celeriac.engines.unit", "spin": spin, "done": done}
    exec("def exchange():\n    spin(0.1)\n    done.append(True)", namespace)

    def task():
        namespace["exchange"]()
        spin(60)

    def work(guard):
        with pytest.raises(SoftTimeLimitExceeded):
            guard.run(Call(task, (), {}), soft(0.01))

    with_guard(work)
    assert done == [True]


def test_a_strike_that_is_under_way_when_the_call_ends_stays_in_it(monkeypatch):
    """The strike has made sure that the call runs, and raises only after the task's last line."""
    ended = threading.Event()

    def made_sure(self, limit):
        ended.wait(30)
        time.sleep(0.02)  # by now the thread would be elsewhere, if it did not wait for us
        return True

    monkeypatch.setattr(ThreadGuard, "_may_be_interrupted", made_sure)

    def work():
        guard = guard_of_this_thread(Limiter())
        limits = soft(0)

        def task():
            while not guard._posting:
                time.sleep(0.001)
            ended.set()

        try:
            guard.run(Call(task, (), {}), limits)
        except SoftTimeLimitExceeded:
            pass
        assert limits[0].struck
        spin(0.1)  # nothing comes here

    in_a_thread(work)


def test_a_finalizer_does_not_swallow_it(with_guard):
    class Slow:
        def __del__(self):
            spin(0.1)

    def task():
        Slow()
        spin(60)

    def work(guard):
        with pytest.raises(SoftTimeLimitExceeded):
            guard.run(Call(task, (), {}), soft(0.02))

    with_guard(work)


def test_a_signal_ends_a_sleep():
    guard = guard_of_this_thread(Limiter())
    began = time.monotonic()
    with pytest.raises(SoftTimeLimitExceeded):
        guard.run(Call(time.sleep, (60,), {}), soft(0.01))
    assert time.monotonic() - began < 30


def test_after_a_soft_limit_that_was_caught_comes_the_hard_one():
    guard = guard_of_this_thread(Limiter())
    now = time.monotonic()
    limits = (
        Limit(now + 0.01, SoftTimeLimitExceeded()),
        Limit(now + 0.05, TimeLimitExceeded(0.05), final=True),
    )

    def task():
        try:
            time.sleep(60)
        except SoftTimeLimitExceeded:
            time.sleep(60)

    with pytest.raises(TimeLimitExceeded, match=r"TimeLimitExceeded\(0.05,\)"):
        guard.run(Call(task, (), {}), limits)


# ── coroutine functions ──


@pytest.fixture
def run_async(with_guard):
    def run_async(function, limits):
        def work(guard):
            with asyncio.Runner() as runner:
                return guard.run_async(Call(function, (), {}, is_async=True), limits, runner)

        return with_guard(work)

    return run_async


def test_a_coroutine_is_interrupted_where_it_waits(run_async):
    async def task():
        try:
            await asyncio.sleep(60)
        except SoftTimeLimitExceeded:
            await asyncio.sleep(0)  # it may clean up with more of the same
            return "cleaned up"

    assert run_async(task, soft(0.5)) == "cleaned up"  # long enough for an event loop to be made before


def test_what_leaves_the_coroutine_is_the_plain_exception(run_async):
    async def task():
        await asyncio.sleep(60)

    with pytest.raises(SoftTimeLimitExceeded) as raised:
        run_async(task, soft(0.01))
    assert type(raised.value) is SoftTimeLimitExceeded


def test_in_the_main_thread_a_coroutine_is_interrupted_where_it_computes():
    async def task():
        try:
            spin(60)
        except SoftTimeLimitExceeded:
            await asyncio.sleep(0.02)  # the same limit does not come again, by the loop
            return "cleaned up"

    guard = guard_of_this_thread(Limiter())
    with asyncio.Runner() as runner:
        assert guard.run_async(Call(task, (), {}, is_async=True), soft(0.2), runner) == "cleaned up"


def test_thousands_of_coroutines_are_interrupted_by_their_own_limit_or_not_at_all(with_guard):
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)

    async def task(for_s, compute):
        await asyncio.sleep(0)
        if compute:
            spin(for_s)
        else:
            await asyncio.sleep(for_s)

    def trials(guard):
        raised = 0
        with asyncio.Runner() as runner:
            for number in range(_TRIALS // 4):
                for_s = chance.uniform(0, 0.0004)
                limits = soft(for_s * chance.uniform(0.3, 3)) if number % 3 else soft(3600)
                try:
                    guard.run_async(Call(task, (for_s, number % 2), {}, is_async=True), limits, runner)
                except SoftTimeLimitExceeded:
                    assert limits[0].struck, f"call {number} was hit by another's limit"
                    raised += 1
        return raised

    with quick_switches():
        assert with_guard(trials) > 10


# ── interruptions of calls without limits ────────────────────────────────────────────────────────────────────────────


def without_limits(guard, function, is_async=False):
    call = Call(function, (), {}, is_async=is_async)
    if is_async:
        with asyncio.Runner() as runner:
            return guard.run_async(call, [], runner)
    return guard.run(call, [])


def test_a_call_without_limits_is_interrupted(with_guard):
    def work(guard):
        threading.Timer(0.05, guard._limiter.interrupt, [LeaseLost]).start()
        with pytest.raises(LeaseLost, match="has gone to another worker"):
            without_limits(guard, lambda: spin(30))
        return "went on"

    assert with_guard(work) == "went on"


def test_a_coroutine_without_limits_is_cancelled(with_guard):
    seen = []

    async def wait():
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    def work(guard):
        threading.Timer(0.05, guard._limiter.interrupt, [LeaseLost]).start()
        with pytest.raises(LeaseLost):
            without_limits(guard, wait, is_async=True)

    with_guard(work)
    assert seen == ["cancelled"]


def test_an_interruption_reaches_no_later_call(with_guard):
    def work(guard):
        guard._limiter.interrupt(LeaseLost)  # nothing is called now
        without_limits(guard, lambda: spin(0.05))
        for _ in range(300):
            try:
                without_limits(guard, lambda: guard._limiter.interrupt(LeaseLost))
            except LeaseLost:
                pass
            without_limits(guard, nothing)
        spin(0.05)

    with_guard(work)


def test_a_handler_of_the_users_own_is_left_alone():
    """SIGUSR1 is faulthandler's in many projects; a run without limits does not touch it."""
    before = signal.getsignal(signal.SIGUSR1)
    guard = guard_of_this_thread(Limiter())
    without_limits(guard, nothing)
    assert signal.getsignal(signal.SIGUSR1) is before
