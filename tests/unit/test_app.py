import importlib.util
import os
import runpy
import subprocess
import sys
from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import pytest

from celeriac import Celery
from celeriac.engines.base import EngineOptions, Receipt
from celeriac.exceptions import CeleriacWarning, ConfigError, NotRegistered
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


# ── stores ──


def test_making_an_app_and_opening_its_broker_writes_nothing(tmp_path, load):
    (tmp_path / "tasks.py").write_text(MODULE)
    app = load(tmp_path / "tasks.py")
    assert app._broker is None
    app.broker.describe()
    assert not (tmp_path / ".celeriac").exists()


def test_the_broker_is_opened_once(app):
    assert app.broker is app.broker
    assert app.results is app.results


def test_results_lie_in_the_brokers_store(app):
    assert app.results is app.broker.result_store()


def test_a_backend_of_the_same_url_is_the_brokers_store(tmp_path, make_app):
    app = make_app(broker=f"sqlite:///{tmp_path}/a.db", backend=f"sqlite:///{tmp_path}/a.db")
    assert app.results is app.broker.result_store()


def test_another_backend_is_another_store(tmp_path, make_app):
    app = make_app(broker=f"sqlite:///{tmp_path}/a.db", backend=f"sqlite:///{tmp_path}/b.db")
    assert app.results.describe() == f"sqlite:///{tmp_path}/b.db"
    assert not app.broker.shares_store_with(app.results)


def test_a_backend_of_the_same_url_with_other_options_is_another_store(make_app):
    url = "redis://127.0.0.1:1/0"
    app = make_app(broker=url, backend=url, result_backend_transport_options={"global_keyprefix": "results"})
    assert app.results is not app.broker.result_store()
    assert app.results_url == url


def test_a_closed_app_opens_its_store_again(tmp_path, make_app):
    app = make_app(broker=f"sqlite:///{tmp_path}/a.db")
    first = app.broker
    first.publish([], Receipt("p", 1))
    app.close()
    app.close()
    assert app.broker is not first
    assert app.broker.queues() == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("amqp://localhost", "has no amqp:// engine yet; it serves memory://, redis://, "),
        ("sqlit://", "did you mean sqlite://"),
        ("mongodb://localhost", "no engine serves 'mongodb' URLs"),
        ("tasks.db", "no engine serves 'tasks.db' URLs"),
    ],
)
def test_a_url_without_an_engine_is_an_error_that_names_the_setting(make_app, url, why):
    with pytest.raises(ConfigError, match="broker_url: ") as caught:
        _ = make_app(broker=url).broker
    assert why in str(caught.value)


def test_the_backends_url_is_checked_too(make_app):
    with pytest.raises(ConfigError, match="result_backend: "):
        _ = make_app(backend="amqp://localhost").results


def test_options_reach_the_engine(make_app):
    app = make_app(broker_connection_timeout=7, broker_transport_options={"synchronous": "normal"})
    assert app._engine_options("broker_transport_options") == EngineOptions(app.folder, 7.0, {"synchronous": "normal"})


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
    with pytest.warns(CeleriacWarning, match="fixups"):
        assert Celery("unit", fixups=[]).conf.fixups == []


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


# ── tasks ──


def test_a_task_is_found_by_its_name(app):
    task = app.task(name="mail.send")(print)
    assert app.find_task("mail.send") is task


def test_a_near_name_is_told(app):
    app.task(name="mail.send")(print)
    with pytest.raises(NotRegistered, match=r"no task 'mail.sent' in this application; did you mean 'mail.send'\?"):
        app.find_task("mail.sent")


def test_without_a_near_name_all_are_told(app):
    app.task(name="mail.send")(print)
    with pytest.raises(NotRegistered, match=r"it has mail\.send"):
        app.find_task("x")


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


def test_making_an_app_loads_no_engine_and_no_event_loop():
    loaded = modules_after("from celeriac import Celery\napp = Celery('x')\n@app.task\ndef add(x, y): return x + y")
    assert not loaded & {"asyncio", "sqlite3", "click", "celeriac.engines.sqlite", "celeriac.worker"}


def test_every_public_name_is_there():
    import celeriac

    assert celeriac.Celery is Celery
    assert {getattr(celeriac, name) is not None for name in celeriac.__all__} == {True}
    assert set(celeriac.__all__) <= set(dir(celeriac))


def test_another_name_is_an_attribute_error():
    import celeriac

    with pytest.raises(AttributeError, match="'celeriac' has no attribute 'Celary'"):
        _ = celeriac.Celary
