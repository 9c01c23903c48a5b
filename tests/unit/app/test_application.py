import importlib.util
import os
import runpy
import subprocess
import sys
from datetime import UTC, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from celeriac import Celery
from celeriac.engines.base import Receipt
from celeriac.exceptions import CeleriacWarning, ConfigError
from celeriac.retries import RetryPolicy

MODULE = "from celeriac import Celery\napp = Celery('tasks')\n"


@pytest.fixture
def load():
    """Import a file under a name of its own; gives its app."""

    def load(path):
        spec = importlib.util.spec_from_file_location(f"unit_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.app

    return load


# ── the folder ──


def test_the_folder_is_the_modules(tmp_path, load):
    (tmp_path / "tasks.py").write_text(MODULE)
    assert load(tmp_path / "tasks.py").folder == str(tmp_path)


def test_the_folder_of_a_package_is_the_one_that_holds_it(tmp_path, load):
    inner = tmp_path / "proj" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "__init__.py").touch()
    (inner / "celery.py").write_text(MODULE)
    assert load(inner / "celery.py").folder == str(tmp_path)


def test_a_script_has_the_folder_of_the_same_module_imported(tmp_path, load):
    (tmp_path / "tasks.py").write_text(MODULE)
    script = runpy.run_path(str(tmp_path / "tasks.py"), run_name="__main__")["app"]
    assert script.folder == load(tmp_path / "tasks.py").folder


def test_without_a_file_the_folder_is_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(MODULE, names)
    assert names["app"].folder == str(tmp_path)


def test_the_store_lies_in_the_folder(tmp_path, load, monkeypatch):
    monkeypatch.delenv("CELERIAC_HOME", raising=False)
    (tmp_path / "tasks.py").write_text(MODULE)
    app = load(tmp_path / "tasks.py")
    assert app.broker.describe() == f"sqlite:///{tmp_path}/.celeriac/celeriac.db"


def test_celeriac_home_names_another_folder(tmp_path, load, monkeypatch):
    monkeypatch.setenv("CELERIAC_HOME", str(tmp_path / "home"))
    (tmp_path / "tasks.py").write_text(MODULE)
    app = load(tmp_path / "tasks.py")
    assert app.broker.describe() == f"sqlite:///{tmp_path}/home/celeriac.db"


# ── settings ──


def test_keywords_are_settings():
    app = Celery("unit", broker="sqlite:///a.db", backend="sqlite:///b.db", include=["a"], timezone="Europe/Vienna")
    assert dict(app.conf.changed()) == {
        "broker_url": "sqlite:///a.db",
        "result_backend": "sqlite:///b.db",
        "include": ("a",),
        "timezone": "Europe/Vienna",
    }


def test_a_keyword_that_is_nearly_a_setting_is_an_error():
    with pytest.raises(ConfigError, match="did you mean 'timezone'"):
        Celery("unit", time_zone="UTC")


def test_another_keyword_is_kept_with_a_warning():
    with pytest.warns(CeleriacWarning, match="shoe_size"):
        assert Celery("unit", shoe_size=45).conf.shoe_size == 45


@pytest.mark.parametrize("part", ["loader", "amqp", "events", "log", "control", "fixups"])
def test_a_part_of_celery_that_is_not_here_is_told_to_have_no_effect(part):
    with pytest.warns(CeleriacWarning, match=rf"Celery\({part}=\.\.\.\) has no effect"):
        Celery("unit", **{part: "x"})


def test_naive_times_are_utc_or_in_the_zone_that_is_set(make_app):
    assert make_app().timezone == UTC
    assert make_app(timezone="Europe/Vienna").timezone == ZoneInfo("Europe/Vienna")


def test_without_utc_naive_times_are_the_machines(make_app, monkeypatch):
    monkeypatch.setenv("TZ", "EST+5")
    try:
        __import__("time").tzset()
        assert make_app(enable_utc=False).timezone.utcoffset(None) == timedelta(hours=-5)
    finally:
        monkeypatch.undo()
        __import__("time").tzset()


def test_now_is_the_clocks_time_in_the_zone(make_app):
    assert make_app(timezone="Europe/Vienna").now().isoformat() == "2026-01-02T04:04:05+01:00"


def test_accept_lists_content_types(make_app):
    assert make_app(accept_content=["application/json"]).accept == {"application/json"}
    assert make_app().accept == {"application/json"}


@pytest.mark.parametrize(("expires", "ttl_s"), [(None, None), (0, None), (60, 60), (timedelta(hours=1), 3600)])
def test_results_without_an_expiry_are_kept_for_ever(make_app, expires, ttl_s):
    assert make_app(result_expires=expires).result_ttl_s == ttl_s


def test_the_publish_policy_is_the_settings(make_app):
    assert make_app()._publish_policy() == RetryPolicy()
    assert make_app(task_publish_retry_policy={"max_retries": 9})._publish_policy().max_retries == 9
    assert make_app(task_publish_retry=False)._publish_policy().max_retries == 0


# ── modules ──


def test_default_modules_are_imported(tmp_path, make_app, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("unit_imported", "unit_included"):
        (tmp_path / f"{name}.py").touch()
        monkeypatch.delitem(sys.modules, name, raising=False)
    make_app(include=["unit_included"], imports=["unit_imported"]).import_default_modules()
    assert "unit_imported" in sys.modules
    assert "unit_included" in sys.modules
    for name in ("unit_imported", "unit_included"):
        monkeypatch.delitem(sys.modules, name)


def test_an_app_does_not_pickle(app):
    with pytest.raises(ConfigError, match="import it"):
        app.__reduce__()


def test_an_app_shows_its_name(app):
    assert repr(app).startswith("<Celery unit at ")


# ── imports ──


def modules_after(code):
    """The names of the modules that are loaded after running the code in a fresh Python."""
    script = f"import sys; before = set(sys.modules)\n{code}\nprint(' '.join(set(sys.modules) - before))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    return set(done.stdout.split())


HEAVY = {"asyncio", "sqlite3", "click", "logging", "inspect", "celeriac.engines.sqlite"}


def test_importing_celeriac_loads_next_to_nothing():
    assert {name for name in modules_after("import celeriac") if name.startswith("celeriac.")} == set()
    assert not modules_after("import celeriac") & HEAVY


DECLARING = """
from celeriac import Celery
app = Celery("x", broker="redis://localhost/1", task_routes={"x.*": "q"})
@app.task(max_retries=5)
def add(x, y): return x + y
"""
#: Of no use before the first call, and most of what it takes.
FOR_CALLING = {"msgspec", "json", "uuid", "base64", "socket", "ssl", "hiredis", "dataclasses", "difflib"}


def test_declaring_an_app_and_its_tasks_loads_nothing_that_only_calls_need():
    loaded = modules_after(DECLARING)
    assert not loaded & (HEAVY | FOR_CALLING)
    assert not {
        name for name in loaded if name.startswith(("celeriac.engines", "celeriac.worker", "celeriac.execution"))
    }


def test_opening_a_store_loads_neither_tls_nor_an_event_loop():
    loaded = modules_after(f"{DECLARING}\napp.broker.describe()")
    assert "hiredis" in loaded
    assert not loaded & {"ssl", "_hashlib", "asyncio", "sqlite3", "click", "dataclasses"}


def test_an_app_on_redis_loads_no_driver_before_it_is_used():
    loaded = modules_after(
        "from celeriac import Celery\nCelery('x', broker='redis://nowhere/0').task(lambda: None, name='a')"
    )
    assert not loaded & {"hiredis", "redis", "ssl", "celeriac.engines.redis"}


def test_every_public_name_is_there():
    import celeriac

    assert celeriac.Celery is Celery
    assert {getattr(celeriac, name) is not None for name in celeriac.__all__} == {True}
    assert set(celeriac.__all__) <= set(dir(celeriac))


def test_another_name_is_an_attribute_error():
    import celeriac

    with pytest.raises(AttributeError, match="'celeriac' has no attribute 'Celary'"):
        _ = celeriac.Celary


def test_a_subclass_in_another_module_has_the_folder_of_who_makes_the_app(tmp_path, load, monkeypatch):
    library = tmp_path / "library"
    library.mkdir()
    (library / "unit_library.py").write_text(
        "from celeriac import Celery\n"
        "class Shop(Celery):\n"
        "    def __init__(self, *args, **kwargs):\n"
        "        super().__init__(*args, **kwargs)\n"
    )
    monkeypatch.syspath_prepend(library)
    (tmp_path / "tasks.py").write_text("from unit_library import Shop\napp = Shop('tasks')\n")
    assert load(tmp_path / "tasks.py").folder == str(tmp_path)
    monkeypatch.delitem(sys.modules, "unit_library")


def test_on_init_is_called_at_the_end_of_the_constructor():
    class Shop(Celery):
        def on_init(self):
            self.seen = (self.main, self.conf.timezone)

    assert Shop("shop", broker=":memory:", timezone="UTC").seen == ("shop", "UTC")


def test_an_app_in_a_with_statement_is_closed_at_its_end(tmp_path):
    with Celery("unit", broker=f"sqlite:///{tmp_path}/a.db") as app:
        broker = app.broker
        broker.publish([], Receipt("p", 1))
    assert app.stores._broker is None


# ── when settings are read ──


@pytest.fixture
def told(app):
    """What the app's signals tell, in order."""
    told = []
    app.on_configure.connect(lambda sender, **_: told.append(("configure", sender)), weak=False)
    app.on_after_configure.connect(lambda sender, source, **_: told.append(("configured", source)), weak=False)
    return told


def test_reading_a_setting_is_told_before_and_after_once(app, told):
    assert told == []
    _ = app.conf.timezone
    _ = app.conf.task_routes
    assert told == [("configure", app), ("configured", app.conf)]


def test_setting_a_value_is_no_reading(app, told):
    app.conf.timezone = "UTC"
    assert told == []


def test_a_receiver_of_on_configure_may_set_values(app):
    app.on_configure.connect(lambda sender, **_: sender.conf.update(timezone="Europe/Vienna"), weak=False)
    assert app.conf.timezone == "Europe/Vienna"


def test_an_object_is_read_when_a_setting_is_first_needed(app, told):
    source = SimpleNamespace(timezone="UTC")
    app.config_from_object(source)
    source.timezone = "Europe/Vienna"
    assert app.conf.timezone == "Europe/Vienna"


def test_force_reads_at_once(app, told):
    app.config_from_object({"timezone": "UTC"}, force=True)
    assert [name for name, _ in told] == ["configure", "configured"]


def test_a_namespace_reads_only_names_that_begin_with_it(app):
    app.config_from_object({"SHOP_TIMEZONE": "Europe/Vienna", "TIMEZONE": "UTC"}, namespace="SHOP")
    assert app.conf.timezone == "Europe/Vienna"


def test_the_constructor_takes_source_and_namespace(make_app):
    app = make_app(config_source={"SHOP_TIMEZONE": "Europe/Vienna"}, namespace="SHOP")
    assert app.conf.timezone == "Europe/Vienna"


def test_a_module_is_named_by_an_environment_variable(app, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "unit_settings.py").write_text("timezone = 'Europe/Vienna'\n")
    monkeypatch.setenv("UNIT_SETTINGS", "unit_settings")
    app.config_from_envvar("UNIT_SETTINGS")
    assert app.conf.timezone == "Europe/Vienna"
    monkeypatch.delitem(sys.modules, "unit_settings")


def test_a_missing_variable_is_an_error_unless_silent(app, monkeypatch):
    monkeypatch.delenv("UNIT_SETTINGS", raising=False)
    app.config_from_envvar("UNIT_SETTINGS", silent=True)
    with pytest.raises(ConfigError, match="UNIT_SETTINGS"):
        app.config_from_envvar("UNIT_SETTINGS", force=True)


def test_a_missing_module_is_an_error_unless_silent(make_app):
    silent, strict = make_app(), make_app()
    silent.config_from_object("unit_no_such_module", silent=True, force=True)
    strict.config_from_object("unit_no_such_module")
    with pytest.raises(ConfigError, match="unit_no_such_module"):
        _ = strict.conf.timezone


def test_defaults_give_way_to_all_else(app):
    app.add_defaults({"timezone": "UTC", "task_default_queue": "mail"})
    app.conf.timezone = "Europe/Vienna"
    assert (app.conf.timezone, app.conf.task_default_queue) == ("Europe/Vienna", "mail")


def test_defaults_may_be_a_function_that_is_called_when_they_are_needed(app):
    calls = []
    app.add_defaults(lambda: calls.append(1) or {"timezone": "Europe/Vienna"})
    assert calls == []
    assert app.conf.timezone == "Europe/Vienna"


@pytest.mark.parametrize(("failures", "ttl_s"), [(None, 60), (7, 7), (0, None), (timedelta(hours=1), 3600)])
def test_failures_may_be_kept_for_another_time(make_app, failures, ttl_s):
    app = make_app(result_expires=60, result_failure_expires=failures)
    assert (app.result_ttl_s, app.failure_ttl_s) == (60, ttl_s)


@pytest.mark.parametrize(
    ("settings", "uses"), [({}, True), ({"timezone": "UTC"}, True), ({"timezone": "Europe/Vienna"}, False)]
)
def test_an_app_tells_whether_it_uses_utc(make_app, settings, uses):
    assert make_app(**settings).uses_utc_timezone() is uses
