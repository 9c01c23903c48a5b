import pytest

from celeriac.exceptions import CeleriacWarning, ConfigError
from celeriac.settings import Settings


@pytest.fixture
def conf():
    return Settings()


def test_every_value_knows_where_it_came_from(conf, monkeypatch):
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://env")
    conf.defer(lambda: {"task_track_started": True, "CELERY_TIMEZONE": "UTC"}, "celeryconfig")
    conf.add_defaults({"task_serializer": "json"})
    conf.max_deliveries = 5
    conf.override({"broker_url": "redis://b"})
    names = (
        "task_track_started",
        "timezone",
        "task_serializer",
        "max_deliveries",
        "broker_url",
        "result_backend",
        "imports",
    )
    assert [conf.source(name) for name in names] == [
        "celeryconfig",
        "celeryconfig",
        "add_defaults",
        "code",
        "command line",
        "environment CELERY_RESULT_BACKEND",
        "default",
    ]


def test_the_command_line_holds_against_the_environment_and_code(conf, monkeypatch):
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://env")
    conf.override({"broker_url": "redis://line"})
    conf.broker_url = "redis://code"
    assert (conf.broker_url, conf.broker_read_url) == ("redis://line", "redis://line")


def test_a_deferred_source_is_read_at_the_first_read_and_once(conf):
    reads = []
    conf.defer(lambda: reads.append(1) or {"max_deliveries": 7}, "lazy")
    conf.task_track_started = True
    assert reads == []
    assert (conf.max_deliveries, conf.max_deliveries, len(reads)) == (7, 7, 1)


def test_finalize_reads_at_once(conf):
    reads = []
    conf.defer(lambda: reads.append(1) or {}, "lazy")
    assert conf.finalize() is conf
    assert reads == [1]


@pytest.mark.parametrize("error", [ValueError("broken"), ImportError("broken")])
def test_an_error_of_a_deferred_source_is_raised_at_each_read(conf, error):
    def load():
        raise error

    conf.defer(load, "broken")
    for _ in range(2):
        with pytest.raises(type(error), match="broken"):
            _ = conf.timezone


def test_an_attribute_error_of_a_deferred_source_is_not_taken_for_a_missing_setting(conf):
    conf.defer(lambda: object().nothing, "proj.settings")
    with pytest.raises(ConfigError, match=r"reading proj.settings failed: .*nothing"):
        hasattr(conf, "timezone")


def test_a_wrong_value_of_a_deferred_source_names_setting_and_source_and_sets_nothing(conf):
    conf.defer(lambda: {"max_deliveries": 5, "worker_concurrency": "many"}, "celeryconfig")
    with pytest.raises(ConfigError, match=r"setting worker_concurrency must be .* not 'many' \(in celeryconfig\)"):
        _ = conf.max_deliveries


def test_a_configuration_that_reads_settings_while_it_is_read_finds_those_that_are_there(conf):
    conf.max_deliveries = 4
    conf.defer(lambda: {"worker_concurrency": conf.max_deliveries * 2}, "self")
    assert conf.worker_concurrency == 8


def test_names_that_only_a_plug_in_knows_are_kept_from_a_configuration(conf):
    conf.defer(lambda: {"redbeat_redis_url": "redis://x", "ONCE": {"a": 1}}, "celeryconfig")
    assert (conf.redbeat_redis_url, conf.ONCE) == ("redis://x", {"a": 1})


def test_an_unknown_name_of_a_configuration_that_begins_as_a_setting_does_is_warned_of(conf):
    conf.defer(lambda: {"task_colour": "red"}, "celeryconfig")
    with pytest.warns(CeleriacWarning, match=r"no setting 'task_colour'; it is kept, .*\(in celeryconfig\)"):
        assert conf.task_colour == "red"


def test_a_near_miss_in_a_configuration_is_an_error(conf):
    conf.defer(lambda: {"task_serialiser": "json"}, "celeryconfig")
    with pytest.raises(ConfigError, match=r"no setting 'task_serialiser' \(in celeryconfig\); did you mean"):
        _ = conf.timezone


def test_broker_urls_that_differ_are_an_error_that_names_them_and_no_password(conf):
    conf.update(broker_read_url="redis://:hunter2@a", broker_write_url="redis://:hunter3@b")
    with pytest.raises(ConfigError, match=r"broker_read_url \(code\), broker_write_url \(code\) differ") as caught:
        _ = conf.broker_url
    assert "hunter" not in str(caught.value)


def test_a_broker_given_for_reading_or_writing_is_the_broker(conf):
    conf.broker_read_url = "redis://a"
    assert (conf.broker_url, conf.broker_write_url) == ("redis://a", "redis://a")


def test_a_default_dictionary_may_be_filled_and_is_the_applications_own(conf):
    conf.broker_transport_options["visibility_timeout"] = 60
    assert conf.source("broker_transport_options") == "code"
    assert conf.without_defaults() == {"broker_transport_options": {"visibility_timeout": 60}}
    assert Settings().broker_transport_options == {}


def test_setdefault_sets_what_nothing_has_set(conf):
    conf.defer(lambda: {"max_deliveries": 7}, "celeryconfig")
    assert (conf.setdefault("max_deliveries", 2), conf.setdefault("worker_concurrency", 2)) == (7, 2)


def test_deleting_forgets_what_code_has_set(conf):
    conf.defer(lambda: {"max_deliveries": 7}, "celeryconfig")
    conf.max_deliveries = 2
    del conf["max_deliveries"]
    assert conf.max_deliveries == 7
    with pytest.raises(KeyError):
        del conf["max_deliveries"]


def test_it_is_a_mapping_of_all_settings(conf):
    conf.max_deliveries = 9
    assert dict(conf)["max_deliveries"] == 9
    assert len(conf) == len(list(conf.keys())) == len(list(conf.items())) == len(list(conf.values()))


def test_tables_have_what_was_set_or_everything(conf):
    conf.max_deliveries = 9
    assert conf.table() == conf.without_defaults() == {"max_deliveries": 9}
    assert conf.table(with_defaults=True)["worker_pool"] == "prefork"
    assert conf.humanize() == "max_deliveries: 9"


SECRETS = {
    "broker_url": "redis://user:hunter2@host:6379/0",
    "result_backend": "redis://:hun/ter2@x@host/0",
    "my_token": "hunter2",
    "my_service": {"password": "hunter2", "urls": ["https://u:hunter2@x"]},
    "my_database": "postgresql://x/?password=hunter2",
}


def test_nothing_that_is_printed_has_secrets(conf):
    with pytest.warns(CeleriacWarning):
        conf.update(SECRETS)
    for text in (repr(conf), str(conf.table()), conf.humanize(), conf.humanize(with_defaults=True)):
        assert "hunter" not in text
        assert "ter2" not in text
    assert conf.table()["broker_url"] == "redis://user:********@host:6379/0"
    assert conf.table(censored=False)["broker_url"] == SECRETS["broker_url"]


def test_an_error_shows_no_password(conf):
    with pytest.raises(ConfigError, match="broker_url must be one URL") as caught:
        conf.broker_url = ["redis://:hunter2@a", "redis://:hunter3@b"]
    assert "hunter" not in str(caught.value)


def test_what_only_sounds_secret_is_shown(conf):
    conf.update(task_default_routing_key="orders", broker_transport_options={"global_keyprefix": "shop"})
    assert conf.table() == {
        "task_default_routing_key": "orders",
        "broker_transport_options": {"global_keyprefix": "shop"},
    }
