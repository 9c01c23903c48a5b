import gc
import sys

import pytest

from celeriac.worker.limits.shield import shields


def here():
    return sys._getframe(1)


def test_a_tasks_own_code_may_be_interrupted():
    assert not shields(here())


def test_a_finalizer_is_not_interrupted():
    seen = []

    class Kept:
        def __del__(self):
            seen.append(shields(here()))

    Kept()
    gc.collect()
    assert seen == [True]


def test_what_the_garbage_collector_calls_is_not_interrupted():
    seen = []

    def callback(_phase, _info):
        seen.append(shields(here()))

    gc.callbacks.append(callback)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(callback)
    assert seen == [True, True]


@pytest.mark.parametrize(
    "module", ["celeriac.engines.redis.client", "celeriac.publishing", "celeriac.worker.courier", "logging"]
)
def test_code_that_holds_locks_of_others_is_not_interrupted(module):
    scope = {"__name__": module, "here": here, "shields": shields}
    exec("answer = shields(here())", scope)
    assert scope["answer"]
