import math
import warnings
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from celeriac.exceptions import CeleriacWarning, ConfigError
from celeriac.settings import SETTINGS, Settings


@pytest.fixture
def conf() -> Settings:
    return Settings()


def test_the_one_default_that_differs_from_celerys_is_at_least_once(conf):
    assert conf.task_acks_late is True


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_every_default_passes_its_own_check(setting):
    assert setting.check(setting.default) == setting.default


def test_values_are_set_and_read_as_attributes_and_items(conf):
    conf.timezone = "Europe/Vienna"
    conf["worker_concurrency"] = 4
    assert (conf["timezone"], conf.worker_concurrency) == ("Europe/Vienna", 4)


def test_update_takes_dictionaries_and_keywords_and_the_last_wins(conf):
    conf.update({"worker_concurrency": 1}, {"worker_concurrency": 2, "max_deliveries": 5}, worker_concurrency=3)
    assert (conf.worker_concurrency, conf.max_deliveries) == (3, 5)


def test_update_sets_all_or_nothing(conf):
    with pytest.raises(ConfigError, match="worker_concurrency"):
        conf.update(max_deliveries=5, worker_concurrency="many")
    assert conf.max_deliveries == 3
    assert dict(conf.changed()) == {}


def test_changed_lists_what_was_set(conf):
    conf.max_deliveries = 3
    assert dict(conf.changed()) == {"max_deliveries": 3}


def test_a_name_is_in_the_settings_when_it_has_a_value(conf):
    assert "timezone" in conf
    assert "nothing" not in conf
    assert conf.get("nothing", 5) == 5
    assert set(conf) == set(SETTINGS)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("task_serialiser", "task_serializer"),
        ("time_zone", "timezone"),
        ("broker_urll", "broker_url"),
        ("task_ack_late", "task_acks_late"),
        ("BROKER_URLL", "broker_url"),
        ("CELERY_WORKER_CONCURRENCY", "worker_concurrency"),
        ("CELERYD_CONCURENCY", "worker_concurrency"),
        ("worker_concurency", "worker_concurrency"),
    ],
)
def test_a_near_miss_is_an_error_that_names_what_was_meant(conf, written, meant):
    with pytest.raises(ConfigError, match=f"no setting '{written}'; did you mean '{meant}'"):
        conf.update({written: "x"})
    with pytest.raises(AttributeError, match=f"did you mean '{meant}'"):
        getattr(conf, written)


def test_another_name_is_kept_with_a_warning(conf):
    with pytest.warns(CeleriacWarning, match="no setting 'sentry_dsn'; it is kept"):
        conf.sentry_dsn = "https://sentry"
    assert conf.sentry_dsn == "https://sentry"
    assert "sentry_dsn" in conf
    assert "sentry_dsn" in list(conf)


def test_an_unknown_name_that_was_never_set_is_an_attribute_error(conf):
    with pytest.raises(AttributeError, match=r"no setting 'sentry_dsn'$"):
        _ = conf.sentry_dsn


BOOLEANS = [
    "enable_utc",
    "task_acks_late",
    "task_ignore_result",
    "task_publish_retry",
    "task_store_errors_even_if_ignored",
    "task_track_started",
    "worker_redirect_stdouts",
]
NUMBERS = {
    "broker_connection_timeout": 0.05,
    "dead_letter_max_age": 0,
    "result_expires": 0,
    "unknown_task_wait": 0,
    "worker_lease": 0.5,
    "worker_shutdown_grace": 0,
}
INTEGERS = {"dead_letter_max_size": 0, "max_deliveries": 1, "worker_concurrency": 1, "task_default_priority": 0}
GOOD = [
    *((name, value, value) for name in BOOLEANS for value in (True, False)),
    *((name, value, value) for name, least in NUMBERS.items() for value in (least, 3600, 7.5)),
    *((name, timedelta(minutes=2), 120.0) for name in NUMBERS),
    *((name, least, least) for name, least in INTEGERS.items()),
    ("result_expires", None, None),
    ("broker_url", None, None),
    ("broker_url", "sqlite:///a.db", "sqlite:///a.db"),
    ("task_default_priority", 9, 9),
    ("worker_concurrency", None, None),
    ("timezone", "UTC", "UTC"),
    ("timezone", None, None),
    ("timezone", ZoneInfo("Europe/Vienna"), "Europe/Vienna"),
    *(("worker_pool", name, name) for name in ("prefork", "solo", "threads", "asyncio")),
    ("worker_pool", "processes", "prefork"),
    ("worker_concurrency", "auto", None),
    ("worker_redirect_stdouts_level", "info", "INFO"),
    ("task_serializer", "yaml", "yaml"),
    ("accept_content", ["json", "mine"], ("json", "mine")),
    ("task_protocol", 2, 2),
    *(("broker_use_ssl", value, value) for value in (False, True, {"ssl_cert_reqs": "none"})),
    ("redis_backend_use_ssl", None, None),
    ("worker_redirect_stdouts_level", "INFO", "INFO"),
    ("accept_content", ["json"], ("json",)),
    ("accept_content", {"application/json"}, ("application/json",)),
    ("imports", ["a", "b.c"], ("a", "b.c")),
    ("include", (name for name in ("a", "b")), ("a", "b")),
    ("broker_transport_options", {"synchronous": "normal"}, {"synchronous": "normal"}),
    ("task_publish_retry_policy", {"max_retries": None}, {"max_retries": None}),
]
BAD = [
    *((name, value) for name in BOOLEANS for value in (1, 0, "true", None)),
    *((name, value) for name, least in NUMBERS.items() for value in (least - 1, "5", True, [1], math.nan, math.inf)),
    *((name, value) for name, least in INTEGERS.items() for value in (least - 1, 2.0, "5", True, math.nan)),
    *((name, value) for name in ("task_default_queue", "worker_log_format") for value in ("", None, 5, b"celery")),
    *((name, value) for name in ("broker_url", "result_backend") for value in ("", 5, ["sqlite://"])),
    *((name, value) for name in ("imports", "include") for value in ("tasks", [5], None, 5)),
    *((name, value) for name in ("task_serializer", "result_serializer") for value in (None, "", 5)),
    *(
        (name, value)
        for name in ("broker_transport_options", "result_backend_transport_options")
        for value in (None, [], {1: 2})
    ),
    ("accept_content", ["json", ""]),
    ("task_protocol", 1),
    ("worker_concurrency", "car"),
    ("broker_use_ssl", "yes"),
    ("redis_backend_use_ssl", ["ssl_cert_reqs"]),
    ("accept_content", []),
    ("accept_content", "json"),
    ("task_default_priority", 10),
    ("timezone", "Mars/Olympus"),
    ("timezone", ""),
    ("timezone", "../etc/passwd"),
    ("timezone", 5),
    ("worker_pool", "gevent"),
    ("worker_pool", None),
    ("worker_redirect_stdouts_level", "LOUD"),
    ("task_publish_retry_policy", {"max_retries": "3"}),
    ("task_publish_retry_policy", {"tries": 3}),
    ("task_publish_retry_policy", None),
]


@pytest.mark.parametrize(("name", "value", "kept"), GOOD)
def test_a_good_value_is_kept(conf, name, value, kept):
    conf[name] = value
    assert conf[name] == kept


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_an_error_that_names_the_setting(conf, name, value):
    with pytest.raises(ConfigError, match=name):
        conf[name] = value
    assert conf[name] == SETTINGS[name].default


@pytest.mark.parametrize("value", ["tasks", 5, None])
def test_the_error_says_what_should_be_written(conf, value):
    with pytest.raises(ConfigError, match="setting imports must be a list of names, not"):
        conf.imports = value


def test_a_mapping_is_copied(conf):
    options = {"synchronous": "normal"}
    conf.broker_transport_options = options
    options["synchronous"] = "full"
    assert conf.broker_transport_options == {"synchronous": "normal"}


def test_a_known_setting_warns_of_nothing(conf):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        conf.update(task_serializer="json", accept_content=["json"], timezone="UTC", enable_utc=True)
    assert seen == []
