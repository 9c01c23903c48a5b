import contextvars
import subprocess
import sys
import threading

import pytest

from celeriac import Celery, current_app, current_task, shared_task
from celeriac.app import current
from celeriac.request import Context, current_run
from celeriac.runs import Run


@pytest.fixture(autouse=True)
def nothing_current(monkeypatch):
    """No application is current, and no task is shared; other tests see nothing of what this one makes."""
    monkeypatch.setattr(current, "_here", threading.local())
    monkeypatch.setattr(current, "_default", None)
    monkeypatch.setattr(current, "_shared", [])


def in_a_thread(ask):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(ask()))
    thread.start()
    thread.join()
    return seen[0]


def the_app():
    return current.get_current_app()


# ── current_app ──


def test_the_app_that_was_made_last_is_current(make_app):
    make_app("one")
    two = make_app("two")
    assert the_app() is two
    assert current_app.main == "two"


def test_an_app_may_be_made_without_becoming_current(make_app):
    one = make_app("one")
    make_app("two", set_as_current=False)
    assert the_app() is one


def test_set_current_makes_an_app_current(make_app):
    one = make_app("one")
    make_app("two")
    one.set_current()
    assert the_app() is one


def test_each_thread_has_its_own(make_app):
    make_app("one")
    two = make_app("two")

    def other():
        make_app("three")
        return the_app().main

    assert in_a_thread(other) == "three"
    assert the_app() is two


def test_an_application_that_no_module_has_made_has_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert the_app().folder == str(tmp_path)


def test_a_thread_without_one_has_the_default(make_app):
    one = make_app("one")
    two = make_app("two")
    assert in_a_thread(the_app) is one
    two.set_default()
    assert in_a_thread(the_app) is two


def test_without_any_app_there_is_one_on_the_embedded_store():
    assert the_app().main == "default"
    assert the_app() is the_app()


def test_in_a_running_task_it_is_the_tasks(make_app):
    one = make_app("one")
    task = one.task(lambda: None, name="unit.job")
    make_app("two")

    def within():
        current_run.set(Run(task, Context(called_directly=False), object()))
        return the_app()

    assert contextvars.copy_context().run(within) is one


def test_the_stand_in_is_as_the_app_itself(make_app):
    app = make_app("one")
    assert isinstance(current_app, Celery)
    assert (current_app == app, repr(current_app), hash(current_app)) == (True, repr(app), hash(app))
    assert bool(current_app)
    assert "task" in dir(current_app)
    current_app.mark = 5
    assert app.mark == 5


def test_importing_the_stand_ins_makes_no_app():
    code = "from celeriac import current_app, shared_task\nfrom celeriac.app import current\nprint(current._default)"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "None\n"


# ── current_task ──


def test_outside_of_a_task_there_is_none(app):
    assert not current_task
    assert current_task._get_current_object() is None
    assert app.current_task is None
    assert app.current_worker_task is None


def test_a_task_that_is_called_directly_is_current_but_no_workers(app):
    job = app.task(lambda: (current_task == job, app.current_task is job, app.current_worker_task), name="unit.job")
    assert job() == (True, True, None)


def test_the_task_that_a_worker_runs_is_current(app):
    job = app.task(lambda: None, name="unit.job")

    def within():
        current_run.set(Run(job, Context(called_directly=False), object()))
        return current_task._get_current_object(), app.current_worker_task

    assert contextvars.copy_context().run(within) == (job, job)


# ── shared_task ──


def add(x, y):
    """Adds."""
    return x + y


def test_a_shared_task_is_of_apps_that_come_later(make_app):
    shared_task(add)
    app = make_app()
    assert app.tasks[f"{__name__}.add"](1, 2) == 3


def test_a_shared_task_is_of_apps_that_are_complete_already(make_app):
    app = make_app()
    app.finalize()
    shared_task(add)
    assert f"{__name__}.add" in app.tasks


def test_a_shared_task_is_a_task_of_its_own_in_each_app(make_app):
    shared = shared_task(add)
    one, two = make_app("one"), make_app("two")
    name = f"{__name__}.add"
    assert one.tasks[name] is not two.tasks[name]
    assert (one.tasks[name].app, two.tasks[name].app) == (one, two)
    one.set_current()
    assert shared.app is one
    two.set_current()
    assert shared.app is two


def test_a_shared_task_takes_the_options_of_app_task(make_app):
    @shared_task(bind=True, name="unit.who", max_retries=9)
    def who(self):
        return self.name

    app = make_app()
    assert (app.tasks["unit.who"].max_retries, who(), who.name) == (9, "unit.who", "unit.who")


def test_a_shared_task_of_a_script_is_named_after_the_app(make_app):
    def scripted():  # a name of its own: applications of other tests, not collected yet, get it too
        return 5

    scripted.__module__ = "__main__"
    shared = shared_task(scripted)
    make_app("shop")
    assert shared.name == "shop.scripted"


def test_a_shared_task_is_called_as_any(recording_app, sent):
    shared = shared_task(add)
    result = shared.delay(1, 2)
    assert (sent().message.id, sent().message.task) == (result.id, f"{__name__}.add")
    assert shared.s(1).task == f"{__name__}.add"


def test_options_are_given_by_name():
    with pytest.raises(TypeError, match="options by name"):
        shared_task("unit.add")
