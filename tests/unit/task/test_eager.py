"""Calls that run here: `apply`, and every call under `task_always_eager`."""

import pytest

from celeriac.exceptions import EncodeError
from celeriac.result import EagerResult, allow_join_result
from support.celery_oracle import ask_celery

#: What tasks do, called so, and what is then seen; in Celery and here.
CALLS = {
    "apply": "add.apply((1, 2)).get()",
    "apply with an id": "add.apply((1, 2), task_id='id-1').id",
    "apply that fails": "add.apply((1, 'a')).state",
    "apply that throws": "raised(lambda: add.apply((1, 'a'), throw=True))",
    "the request": "who.apply((), retries=2, headers={'tenant': 7}).get()",
    "a retry": "again.apply().get()",
    "retries that are used up": "raised(lambda: never.apply().get())",
    "always eager": "eagerly(lambda: add.delay(1, 2).get())",
    "always eager, a tuple": "eagerly(lambda: same.delay((1, 2)).get())",
    "always eager, the request": "eagerly(lambda: who.delay().get())",
    "always eager that fails": "eagerly(lambda: add.delay(1, 'a').state)",
    "always eager that propagates": "eagerly(lambda: raised(lambda: add.delay(1, 'a')), task_eager_propagates=True)",
    "get in a task": "outer.apply().get()",
    "get in an eager task": "eagerly(lambda: raised(lambda: outer.delay().get()))",
    "a callback": "eagerly(lambda: (add.apply_async((1, 2), link=note.s()), seen.pop())[1])",
    "an errback": "eagerly(lambda: (add.apply_async((1, 'a'), link_error=note.si('failed')), seen.pop())[1])",
    "a signature": "add.s(2).apply((1,)).get()",
    "a call within": "add(1, 2) + add.apply((3, 4)).get()",
}

TASKS = """
seen = []

@app.task(name="unit.add")
def add(x, y): return x + y

@app.task(name="unit.same")
def same(x): return x

@app.task(name="unit.note")
def note(x): seen.append(x)

@app.task(name="unit.who", bind=True)
def who(self):
    request = self.request
    return [request.is_eager, request.called_directly, request.retries, request.args, request.kwargs,
            request.id == request.root_id, request.parent_id]

@app.task(name="unit.again", bind=True)
def again(self):
    if self.request.retries < 2: raise self.retry(countdown=60)
    return self.request.retries

@app.task(name="unit.never", bind=True, max_retries=1)
def never(self): raise self.retry(exc=ValueError("why"))

@app.task(name="unit.outer")
def outer(): return add.apply_async((1, 2)).get() if app.conf.task_always_eager else add.apply((1, 2)).get()

def raised(call):
    try: return ["returned", call()]
    except Exception as error: return type(error).__name__

def eagerly(call, **settings):
    app.conf.update(task_always_eager=True, **settings)
    try: return call()
    finally: app.conf.update(task_always_eager=False, task_eager_propagates=False)
"""

CELERYS = """
import logging
logging.disable(logging.CRITICAL)
from celery import Celery
names = {"app": Celery("oracle", broker="memory://", backend="cache+memory://")}
exec(given[0], names)
answer = [eval(call, names) for call in given[1]]
"""


@pytest.fixture(scope="module")
def celerys():
    return dict(zip(CALLS, ask_celery(CELERYS, [TASKS, list(CALLS.values())]), strict=True))


@pytest.mark.parametrize("name", CALLS)
def test_a_task_runs_here_as_in_celery(app, celerys, name):
    names = {"app": app}
    exec(TASKS, names)
    assert eval(CALLS[name], names) == celerys[name]


@pytest.fixture
def eager_app(app):
    app.conf.task_always_eager = True
    return app


def test_an_eager_call_sends_nothing(recording_app, recording_broker):
    recording_app.conf.task_always_eager = True
    result = recording_app.task(lambda x: x, name="unit.job").delay(5)
    assert isinstance(result, EagerResult)
    assert (result.get(), recording_broker.calls) == (5, [])


async def test_adelay_is_eager_too(eager_app):
    result = await eager_app.task(lambda x: x, name="unit.job").adelay(5)
    assert result.get() == 5


def test_delay_many_is_eager_too(eager_app):
    results = eager_app.task(lambda x: x, name="unit.job").delay_many([(1,), {"x": 2}])
    assert [result.get() for result in results] == [1, 2]


def test_an_eager_call_finds_arguments_that_cannot_be_sent(eager_app):
    with pytest.raises(EncodeError, match="argument 1 cannot be sent"):
        eager_app.task(lambda x: x, name="unit.job").delay({5})


def test_who_knows_that_it_ends_may_wait_in_an_eager_task(eager_app):
    inner = eager_app.task(lambda: 5, name="unit.inner")

    @eager_app.task(name="unit.outer")
    def outer():
        with allow_join_result():
            return inner.delay().get()

    assert outer.delay().get() == 5
