import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.exceptions import ConfigError
from celeriac.retries import Backoff, RetryPolicy, exponential_backoff_s
from support.celery_oracle import ask_celery


def most(_low, high):
    return high


def test_backoff_doubles_up_to_the_longest():
    backoff = Backoff(first_s=1, factor=2, longest_s=5)
    assert [backoff.delay_s(attempt, most) for attempt in (1, 2, 3, 4, 5)] == [1, 2, 4, 5, 5]


def test_backoff_may_be_anything_down_to_nothing():
    asked = []
    Backoff(first_s=1, factor=2, longest_s=5).delay_s(3, lambda low, high: asked.append((low, high)) or 0.0)
    assert asked == [(0.0, 4)]


@given(st.integers(1, 10**9))
def test_backoff_never_overflows(attempt):
    assert 0 <= Backoff().delay_s(attempt, most) <= 5.0


def test_celerys_default_policy_is_ours():
    celery = {"max_retries": 3, "interval_start": 0, "interval_max": 1, "interval_step": 0.2}
    assert RetryPolicy.from_celery(celery) == RetryPolicy()


def test_the_policy_grows_by_a_step_up_to_its_maximum_and_then_gives_up():
    policy = RetryPolicy(max_retries=4, interval_start_s=0, interval_step_s=0.5, interval_max_s=1)
    assert [policy.delay_s(attempt) for attempt in (1, 2, 3, 4, 5)] == [0, 0.5, 1, 1, None]


def test_without_max_retries_the_policy_never_gives_up():
    assert RetryPolicy.from_celery({"max_retries": None}).delay_s(10**6) == 1.0


def test_max_retries_0_does_not_retry():
    assert RetryPolicy(max_retries=0).delay_s(1) is None


def test_a_key_without_meaning_is_named():
    with pytest.raises(ConfigError, match=r"no interval_stop; it knows max_retries"):
        RetryPolicy.from_celery({"interval_stop": 1})


@pytest.mark.parametrize("value", [-1, "1", True, math.nan, math.inf, [1]])
@pytest.mark.parametrize("key", ["max_retries", "interval_start", "interval_step", "interval_max"])
def test_a_value_that_is_no_number_of_at_least_0_is_refused(key, value):
    with pytest.raises(ConfigError, match=key):
        RetryPolicy.from_celery({key: value})


@pytest.mark.parametrize("key", ["interval_start", "interval_step", "interval_max"])
def test_only_max_retries_may_be_none(key):
    with pytest.raises(ConfigError, match=key):
        RetryPolicy.from_celery({key: None})


def test_exponential_backoff_is_celerys():
    cases = [
        (factor, retries, maximum)
        for factor in (0, 1, 2, 3, 7, 600, -1)
        for retries in (0, 1, 2, 5, 10, 64, 500)
        for maximum in (600, 1, 0, 1000, 10**9, -5)
    ]
    theirs = ask_celery(
        "from celery.utils.time import get_exponential_backoff_interval as backoff\n"
        "answer = [backoff(*case) for case in given]",
        cases,
    )
    assert [exponential_backoff_s(*case, False, pytest.fail) for case in cases] == theirs


def test_full_jitter_is_celerys_too():
    cases = [(factor, retries, 600) for factor in (1, 3) for retries in (0, 1, 5, 20)]
    theirs = ask_celery(
        "import random\nfrom celery.utils.time import get_exponential_backoff_interval as backoff\nanswer = []\n"
        "for case in given:\n random.seed(7)\n answer.append(backoff(*case, full_jitter=True))",
        cases,
    )
    assert [exponential_backoff_s(*case, True, random.Random(7).randrange) for case in cases] == theirs


@pytest.mark.parametrize(("factor", "full_jitter"), [(1, False), (0.5, True), (1.5, True), (10**6, True)])
def test_exponential_backoff_never_overflows(factor, full_jitter):
    assert exponential_backoff_s(factor, 10**9, 600, full_jitter, lambda stop: stop - 1) == 600


def test_jitter_of_nothing_asks_for_no_chance():
    assert exponential_backoff_s(0, 3, 600, True, pytest.fail) == 0
