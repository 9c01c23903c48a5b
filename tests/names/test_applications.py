"""What the names of the application promise, where no other test shows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import celeriac
from celeriac import Celery, Task, current_app, current_task, shared_task
from celeriac.exceptions import CeleriacWarning, ConfigError


class Named(Task):
    def label(self) -> str:
        return f"<{self.name}>"


def test_the_top_level_has_its_names_and_no_others() -> None:
    assert set(celeriac.__all__) == {name for name in dir(celeriac) if not name.startswith("__")} | {"__version__"}
    assert all(getattr(celeriac, name) is not None for name in celeriac.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = celeriac.nothing


@pytest.mark.parametrize("code", ["import celeriac", "from celeriac import Celery; Celery('a')"])
def test_importing_loads_no_engine_and_nothing_heavy(code: str) -> None:
    heavy = {"asyncio", "yaml", "msgpack", "pydantic", "hiredis", "sqlite3", "multiprocessing", "logging", "click"}
    program = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert not {name for name in done.stdout.split() if name.startswith("celeriac.engines") or name in heavy}


def test_versions_are_numbers_and_text() -> None:
    assert celeriac.version_info == celeriac.VERSION
    assert celeriac.__version__ == ".".join(map(str, celeriac.VERSION[:3]))


def test_every_uuid_is_another() -> None:
    assert celeriac.uuid() != celeriac.uuid()


def test_the_current_app_is_the_last_one_made_or_made_current(app: Celery) -> None:
    other = Celery("other", broker=":memory:")
    assert current_app.main == "other"
    app.set_current()
    assert current_app.main == "names"
    Celery("third", broker=":memory:", set_as_current=False)
    assert current_app.main == "names"
    other.set_default()
    assert current_app.main == "names"  # this thread has one of its own


def test_the_current_task_is_the_one_that_runs(app: Celery) -> None:
    @app.task
    def look() -> list[Any]:
        assert app.current_task is not None
        assert app.current_worker_task is not None
        return [current_task.name, app.current_task.name, app.current_worker_task.name]

    assert look.apply(throw=True).get() == [look.name] * 3
    assert not current_task
    assert app.current_task is None
    assert app.current_worker_task is None


def test_a_shared_task_is_a_task_of_every_application(app: Celery) -> None:
    @shared_task(name="names.shared")
    def shared() -> str:
        return "shared"

    other = Celery("other", broker=":memory:")
    assert app.tasks["names.shared"]() == other.tasks["names.shared"]() == shared() == "shared"
    assert app.tasks["names.shared"] is not other.tasks["names.shared"]


def test_settings_come_from_modules_and_variables(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("names_config")
    module.task_default_queue = "from_module"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "names_config", module)
    monkeypatch.setenv("NAMES_CONFIG", "names_config")
    app.config_from_object("names_config")
    assert app.conf.task_default_queue == "from_module"
    other = Celery("other", broker=":memory:", config_source=module, namespace=None)
    assert other.conf.task_default_queue == "from_module"
    other = Celery("other", broker=":memory:")
    other.config_from_envvar("NAMES_CONFIG", force=True)
    assert other.conf.task_default_queue == "from_module"
    other = Celery("other", broker=":memory:", changes={"task_default_queue": "changed"})
    assert other.conf.task_default_queue == "changed"
    other.add_defaults({"result_expires": 5})
    assert other.conf.result_expires == 5


def test_a_source_that_is_missing_is_passed_over_where_the_constructor_says_so() -> None:
    app = Celery("other", broker=":memory:", config_source="names_missing", config_source_silent=True)
    assert app.conf.task_default_queue == "celery"
    with pytest.raises(ConfigError, match="names_missing"):
        _ = Celery("other", broker=":memory:", config_source="names_missing").conf.task_default_queue


def test_the_namespace_of_the_constructor_holds_for_objects() -> None:
    app = Celery("other", broker=":memory:", namespace="CELERY")
    app.config_from_object({"CELERY_TASK_DEFAULT_QUEUE": "q"})
    assert app.conf.task_default_queue == "q"


def test_the_steps_of_an_application_are_announced(app: Celery) -> None:
    seen: list[str] = []
    app.on_configure.connect(lambda **_: seen.append("configure"), weak=False)
    app.on_after_configure.connect(lambda source, **_: seen.append("configured"), weak=False)
    app.on_after_finalize.connect(lambda **_: seen.append("finalized"), weak=False)
    _ = app.conf.task_default_queue
    app.finalize()
    app.finalize()
    assert seen == ["configure", "configured", "finalized"]


def test_without_autofinalize_tasks_wait_for_finalize() -> None:
    app = Celery("other", broker=":memory:", autofinalize=False)
    with pytest.raises(RuntimeError, match="finalize"):
        _ = app.tasks
    app.finalize()
    assert app.finalized
    assert app.tasks is not None


def test_a_subclass_has_its_say_when_the_application_is_made() -> None:
    class Mine(Celery):
        def on_init(self) -> None:
            self.made = True

    assert Mine("mine", broker=":memory:").made


def test_task_classes_are_the_applications_or_the_tasks_own() -> None:
    app = Celery("other", broker=":memory:", task_cls=Named)

    @app.task(name="other.job")
    def job() -> None: ...

    class Own(app.Task):  # type: ignore[name-defined,misc]
        name = "other.own"

        def run(self) -> int:
            return 1

    assert app.task_cls is Named
    assert job.label() == "<other.job>"  # type: ignore[attr-defined]
    assert app.register_task(Own()).label() == "<other.own>"  # type: ignore[attr-defined]
    assert app.tasks["other.own"]() == 1


def test_tasks_are_named_after_their_module_and_the_application(app: Celery) -> None:
    assert app.gen_task_name("job", "shop.tasks") == "shop.tasks.job"
    assert app.gen_task_name("job", "__main__") == "names.job"


def test_tasks_of_packages_are_discovered(app: Celery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "names_shop").mkdir()
    (tmp_path / "names_shop" / "__init__.py").touch()
    (tmp_path / "names_shop" / "tasks.py").write_text("loaded = True")
    monkeypatch.syspath_prepend(tmp_path)
    app.autodiscover_tasks(["names_shop"])
    assert "names_shop.tasks" not in sys.modules
    app.import_default_modules()
    assert sys.modules.pop("names_shop.tasks").loaded


def test_queues_are_selected_by_name(app: Celery) -> None:
    assert app.select_queues(["mail", "slow"]) == ("mail", "slow")


def test_an_application_that_was_closed_opens_its_store_again(app: Celery) -> None:
    first = app.broker
    assert app.backend is app.results
    app.close()
    assert app.broker is not first


def test_a_signature_of_the_application_is_called_by_name(app: Celery) -> None:
    assert app.signature("names.job", (1,)).reprcall() == "names.job(1)"


def test_parts_that_celeriac_does_not_have_are_refused_with_a_warning() -> None:
    for part in ("loader", "amqp", "events", "log", "control", "fixups"):
        with pytest.warns(CeleriacWarning, match=f"{part}=.* has no effect"):
            Celery("other", broker=":memory:", **{part: "a.b:C"})


def test_tasks_of_the_constructor_are_the_applications(app: Celery) -> None:
    @app.task(name="names.job")
    def job() -> None: ...

    assert "names.job" in Celery("other", broker=":memory:", tasks=app.tasks).tasks


def test_the_application_starts_its_command_line(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    line = SimpleNamespace(run_for=lambda app, argv: ran.append(argv), bugreport=lambda app: f"report of {app.main}")
    monkeypatch.setattr(Celery, "_command_line", staticmethod(lambda: line))
    app.worker_main(["-c", "2"])
    app.start(["status"])
    assert ran == [["worker", "-c", "2"], ["status"]]
    assert app.bugreport() == celeriac.bugreport(app) == "report of names"


def test_without_utc_the_zone_is_the_machines(app: Celery) -> None:
    assert app.uses_utc_timezone()
    app.conf.timezone = "Europe/Vienna"
    assert not app.uses_utc_timezone()
    assert str(app.timezone) == "Europe/Vienna"


def test_without_strict_typing_any_arguments_are_sent() -> None:
    with Celery("other", broker=":memory:", strict_typing=False) as app:

        @app.task
        def none() -> None: ...

        assert none.delay(1, 2).id
