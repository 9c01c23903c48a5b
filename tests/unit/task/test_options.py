import warnings
from datetime import datetime, timedelta

import pytest

from celeriac import Task
from celeriac.exceptions import CeleriacWarning, ConfigError
from celeriac.task.options import OPTIONS, checked

#: Values that are right, and values that are not, for each option that is checked.
RIGHT_AND_WRONG = {
    "max_retries": ([0, 3, None], [-1, 1.5, "3", True]),
    "default_retry_delay": ([0, 1.5], [-1, "3", None, True]),
    "autoretry_for": ([(OSError,), [OSError], (), OSError], ["OSError", (5,), (OSError(),)]),
    "dont_autoretry_for": ([(OSError,)], [5]),
    "throws": ([(OSError,)], ["OSError"]),
    "retry_kwargs": ([{"max_retries": 3}], [None, [("max_retries", 3)]]),
    "retry_backoff": ([True, False, 5, 0.5], ["5", None]),
    "retry_backoff_max": ([600], ["600", None]),
    "retry_jitter": ([True, False], [1, None]),
    "typing": ([True, False, None], [1, "no"]),
    "ignore_result": ([True, False, None], [1]),
    "store_errors_even_if_ignored": ([True, None], ["yes"]),
    "store_eager_result": ([True, None], [0]),
    "track_started": ([True, None], [1]),
    "trail": ([True, False], [None]),
    "resultrepr_maxsize": ([1024, 0], [-1, None, "5"]),
    "acks_late": ([True, False, None], [1]),
    "acks_on_failure_or_timeout": ([True, False, None], [1]),
    "acks_on_timeout": ([True, False, None], ["yes"]),
    "reject_on_worker_lost": ([True, False, None], [0]),
    "retry_on_worker_lost": ([True, False, None], [1]),
    "time_limit": ([1, 0.5, None], [0, -1, "5", True]),
    "soft_time_limit": ([1, None], [0, "5"]),
    "routing_key": (["mail", None], ["", 5]),
    "priority": ([0, 9, None], [10, -1, 1.5, True]),
    "expires": ([60, datetime(2026, 1, 1), "2026-01-01T00:00", None], ["soon", -1, True, [5]]),
    "serializer": (["json", None], ["", 5]),
    "compression": (["zlib", None], [5]),
    "pydantic": ([True], [1, None]),
    "pydantic_strict": ([True], ["no"]),
    "pydantic_context": ([{"a": 1}, None], [5]),
    "pydantic_dump_kwargs": ([{"by_alias": True}, None], [5]),
    "abstract": ([True], [1]),
}
RIGHT = [(name, value) for name, (right, _) in RIGHT_AND_WRONG.items() for value in right]
WRONG = [(name, value) for name, (_, wrong) in RIGHT_AND_WRONG.items() for value in wrong]


@pytest.mark.parametrize(("name", "value"), RIGHT)
def test_a_right_value_is_taken(name, value):
    assert name in checked("unit.job", {name: value}, Task)


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_an_error_that_names_task_and_option(name, value):
    with pytest.raises(ConfigError, match=rf"^task unit\.job: {name} must be .*, not "):
        checked("unit.job", {name: value}, Task)


def test_every_option_that_can_be_wrong_is_tried():
    free = {name for name, option in OPTIONS.items() if option.note is not None}
    assert OPTIONS.keys() - free - {"queue", "exchange", "delivery_mode"} == RIGHT_AND_WRONG.keys()


def test_the_table_and_the_class_have_the_same_defaults():
    ours = {name: getattr(Task, name) for name, option in OPTIONS.items() if option.note is None}
    assert ours == {name: option.default for name, option in OPTIONS.items() if option.note is None}


def test_seconds_may_be_a_timedelta():
    assert checked("unit.job", {"default_retry_delay": timedelta(minutes=1)}, Task) == {"default_retry_delay": 60}


def test_one_exception_class_is_a_tuple_of_one():
    kept = checked("unit.job", {"autoretry_for": [OSError], "throws": KeyError}, Task)
    assert kept == {"autoretry_for": (OSError,), "throws": (KeyError,)}


def test_the_options_of_a_class_are_kept_as_those_of_a_decorator():
    base = type("Base", (Task,), {"throws": KeyError, "default_retry_delay": timedelta(minutes=1), "max_retries": 9})
    assert checked("unit.job", {}, base) == {"throws": (KeyError,), "default_retry_delay": 60}
    assert checked("unit.job", {"throws": OSError}, base)["throws"] == (OSError,)


def test_a_wrong_option_of_a_class_is_an_error_that_names_it():
    with pytest.raises(ConfigError, match=r"task unit\.job: max_retries must be a whole number"):
        checked("unit.job", {}, type("Base", (Task,), {"max_retries": "5"}))


def test_an_option_that_a_class_computes_is_left_to_it():
    assert checked("unit.job", {}, type("Base", (Task,), {"queue": property(lambda self: "mail")})) == {}


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("max_retrys", "max_retries"),
        ("autoretry_fro", "autoretry_for"),
        ("ack_late", "acks_late"),
        ("ignore_results", "ignore_result"),
        ("timelimit", "time_limit"),
    ],
)
def test_a_near_miss_is_an_error_that_names_the_option(slip, meant):
    with pytest.raises(ConfigError, match=f"task unit.job: there is no option {slip!r}; did you mean {meant!r}"):
        checked("unit.job", {slip: 5}, Task)


@pytest.mark.parametrize("method", ["delay", "retry", "run"])
def test_a_method_is_no_option(method):
    with pytest.raises(ConfigError, match=f"{method!r} is a method of its class"):
        checked("unit.job", {method: print}, Task)


def test_an_attribute_of_the_base_class_is_an_option():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checked("unit.job", {"colour": "red"}, type("Base", (Task,), {"colour": None})) == {"colour": "red"}


def test_an_unknown_option_is_kept_with_a_warning():
    with pytest.warns(CeleriacWarning, match="no option 'shoe_size'; it is kept as an attribute"):
        assert checked("unit.job", {"shoe_size": 45}, Task) == {"shoe_size": 45}


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.note is not None])
def test_an_option_of_celerys_without_effect_is_told(name):
    with pytest.warns(CeleriacWarning, match=f"the option {name!r} has no effect: "):
        checked("unit.job", {name: "something"}, Task)


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.note is not None])
def test_its_default_is_not_told(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked("unit.job", {name: OPTIONS[name].default}, Task)
