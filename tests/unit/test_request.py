import asyncio
import threading

from celeriac.request import Context, Run, current_run


def run(name):
    return Run(name, Context(id=name), None, "celery", None)


def test_outside_of_a_run_there_is_none():
    assert current_run.get() is None


def test_a_context_outside_of_a_run_says_that_the_task_was_called_directly():
    context = Context()
    assert (context.called_directly, context.id, context.retries, context.args) == (True, None, 0, [])


def test_contexts_share_no_lists():
    Context().args.append(1)
    Context().children.append(1)
    assert (Context().args, Context().children) == ([], [])


def test_another_thread_sees_no_run_of_this_one():
    token = current_run.set(run("a"))
    seen = []
    thread = threading.Thread(target=lambda: seen.append(current_run.get()))
    thread.start()
    thread.join()
    current_run.reset(token)
    assert seen == [None]


async def test_coroutines_see_their_own_run():
    async def work(name):
        current_run.set(run(name))
        await asyncio.sleep(0)
        return current_run.get().task_name

    assert await asyncio.gather(work("a"), work("b")) == ["a", "b"]
