"""`await Interruptible(coroutine)` is `await coroutine`, but for the limit it was meant for."""

import asyncio

import pytest

from celeriac.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celeriac.worker.limits.coroutines import Interruptible
from celeriac.worker.limits.limiter import Limit


def soft():
    return Limit(0, SoftTimeLimitExceeded())


def hard():
    return Limit(0, TimeLimitExceeded(5), final=True)


async def interrupted(coroutine, *limits, once=None):
    """The outcome of a coroutine that is interrupted as soon as it waits (for `once`, if that is given)."""
    call = Interruptible(coroutine)

    async def run():
        return await call

    task = asyncio.create_task(run())
    await (once.wait() if once is not None else asyncio.sleep(0))
    for limit in limits:
        call.interrupt(limit)
    return await task


async def forever():
    await asyncio.Event().wait()


async def test_without_an_interrupt_it_returns_what_the_coroutine_returns():
    async def task():
        await asyncio.sleep(0)
        return 5

    assert await Interruptible(task()) == 5


async def test_and_raises_what_it_raises():
    async def task():
        await asyncio.sleep(0)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await Interruptible(task())


async def test_what_leaves_it_is_the_plain_exception():
    with pytest.raises(SoftTimeLimitExceeded) as raised:
        await interrupted(forever(), soft())
    assert type(raised.value) is SoftTimeLimitExceeded


async def test_inside_it_is_a_soft_limit_and_a_cancellation():
    async def task():
        try:
            await forever()
        except asyncio.CancelledError as error:
            return isinstance(error, SoftTimeLimitExceeded)

    assert await interrupted(task(), soft())


async def test_a_caught_limit_leaves_no_cancellation_behind():
    async def task():
        try:
            await forever()
        except SoftTimeLimitExceeded:
            pass
        current = asyncio.current_task()
        await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await asyncio.sleep(0)
        return current.cancelling()

    assert await interrupted(task(), soft()) == 0


async def test_what_it_awaits_is_cancelled():
    child = asyncio.create_task(forever())
    with pytest.raises(SoftTimeLimitExceeded):
        await interrupted(asyncio.wait_for(child, None), soft())
    assert child.cancelled()


async def test_a_task_group_ends_its_children_first():
    children = []

    async def task():
        async with asyncio.TaskGroup() as group:
            children.extend(group.create_task(forever()) for _ in range(3))

    with pytest.raises(SoftTimeLimitExceeded):
        await interrupted(task(), soft())
    assert [child.cancelled() for child in children] == [True] * 3


async def test_an_interrupt_before_the_first_step_is_not_lost():
    call = Interruptible(forever())
    call.interrupt(soft())
    with pytest.raises(SoftTimeLimitExceeded):
        await call


async def test_an_interrupt_after_the_end_does_nothing():
    call, limit = Interruptible(asyncio.sleep(0)), soft()
    await call
    call.interrupt(limit)
    await asyncio.sleep(0)
    assert not limit.struck
    assert asyncio.current_task().cancelling() == 0


async def test_an_awaited_task_that_swallows_the_cancellation_does_not_swallow_the_limit():
    async def stubborn():
        try:
            await forever()
        except asyncio.CancelledError:
            return "as if nothing had happened"

    async def task():
        return await asyncio.create_task(stubborn())

    async def run():
        return await call

    call = Interruptible(task())
    running = asyncio.create_task(run())
    for _ in range(3):
        await asyncio.sleep(0)
    call.interrupt(soft())
    with pytest.raises(SoftTimeLimitExceeded):
        await running


async def test_a_cancellation_by_others_passes_as_it_is():
    seen = []

    async def task():
        try:
            await forever()
        except asyncio.CancelledError as error:
            seen.append(type(error))
            raise

    async def run():
        await Interruptible(task())

    running = asyncio.create_task(run())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert seen == [asyncio.CancelledError]


async def test_a_final_limit_is_a_cancellation_inside_and_its_own_error_outside():
    seen = []

    async def task():
        try:
            await forever()
        except asyncio.CancelledError as error:
            seen.append(type(error))
            raise

    with pytest.raises(TimeLimitExceeded) as raised:
        await interrupted(task(), hard())
    assert seen == [asyncio.CancelledError]
    assert raised.value.args == (5,)


@pytest.mark.parametrize("ends_by", ["returning", "another error"])
def test_however_the_coroutine_takes_a_final_limit_the_outcome_is_the_limit(ends_by):
    async def task():
        try:
            await forever()
        except asyncio.CancelledError:
            if ends_by == "returning":
                return "anyway"
            raise KeyError("in the clean-up") from None

    with pytest.raises(TimeLimitExceeded):
        asyncio.run(interrupted(task(), hard()))


async def test_an_interrupt_reaches_a_generator_that_is_iterated():
    async def numbers():
        yield 1
        await forever()

    async def task():
        return [number async for number in numbers()]

    with pytest.raises(SoftTimeLimitExceeded):
        await interrupted(task(), soft())
