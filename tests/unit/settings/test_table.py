import warnings

import pytest

from celeriac import Celery
from celeriac.exceptions import CeleriacWarning, ConfigError
from celeriac.settings import OLD_NAMES, SETTINGS, Settings


@pytest.fixture
def conf():
    return Settings()


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_every_setting_says_what_it_means_and_takes_in_one_line(setting):
    assert setting.meaning
    assert setting.type
    assert "\n" not in setting.meaning
    assert bool(setting.note) == (not setting.acted_on)


def test_every_default_may_be_set_and_warns_of_nothing(conf):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conf.update({name: setting.default for name, setting in SETTINGS.items()})
    assert {
        name: conf[name] for name in SETTINGS if name not in ("task_default_exchange", "task_default_routing_key")
    } == {
        name: setting.default
        for name, setting in SETTINGS.items()
        if name not in ("task_default_exchange", "task_default_routing_key")
    }


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("s3_bucket", "results", "s3_bucket has no effect in celeriac: there is no such result store"),
        ("broker_pool_limit", 3, "broker_pool_limit has no effect in celeriac: each process opens"),
        ("worker_prefetch_multiplier", 8, "worker_prefetch_multiplier has no effect"),
        ("broker_host", "rabbit", "write it into broker_url"),
        (
            "beat_schedule",
            {"a": {"task": "b"}},
            "beat_schedule is kept, but this version of celeriac does not act on it",
        ),
        ("worker_send_task_events", True, "it sends no events"),
    ],
)
def test_a_setting_without_effect_is_kept_and_says_so_once(conf, name, value, said):
    with pytest.warns(CeleriacWarning, match=said) as seen:
        conf.update([(name, value)])
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conf[name] = value
    assert conf[name] == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("broker_connection_retry_on_startup", True),
        ("worker_prefetch_multiplier", 1),
        ("task_reject_on_worker_lost", True),
        ("worker_enable_remote_control", False),
    ],
)
def test_asking_for_what_is_done_anyway_warns_of_nothing(conf, name, value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conf[name] = value
    assert conf[name] == value


@pytest.mark.parametrize(
    "way",
    [
        lambda conf: conf.update(s3_bucket="b"),
        lambda conf: conf.__setitem__("s3_bucket", "b"),
        lambda conf: setattr(conf, "s3_bucket", "b"),
        lambda conf: Celery(broker=":memory:", s3_bucket="b"),
    ],
)
def test_the_warning_points_at_the_line_that_set_it(conf, way):
    with pytest.warns(CeleriacWarning) as seen:
        way(conf)
    assert [warning.filename for warning in seen] == [__file__]


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_greenlet_pools_are_answered_with_what_to_use(conf, pool):
    with pytest.raises(ConfigError, match=f"worker_pool must be threads, or asyncio .*no {pool} pool"):
        conf.worker_pool = pool


@pytest.mark.parametrize("old", OLD_NAMES)
def test_an_old_name_stands_for_the_new_one(conf, old):
    assert conf.source(old) == "default"
    assert conf[old] == conf[OLD_NAMES[old]]
    assert old in conf


def test_groups_are_the_first_words_of_names():
    groups = {name: SETTINGS[name].group for name in ("task_routes", "timezone", "s3_bucket", "dead_letter_max_age")}
    assert groups == {
        "task_routes": "task",
        "timezone": "general",
        "s3_bucket": "s3",
        "dead_letter_max_age": "general",
    }
