import functools
import threading
import types
import warnings

import pytest

from celeriac import Task, signals
from celeriac.app import current
from celeriac.exceptions import AlreadyRegistered, CeleriacWarning, ConfigError, DuplicateTaskNameWarning, NotRegistered
from support.celery_oracle import ask_celery


class Counting(Task):
    """A base class with an option and a handler."""

    max_retries = 9
    colour = "red"

    def after_return(self, *_facts):
        """Nothing."""


class Doubling(Task):
    def __call__(self, *args, **kwargs):
        return 2 * super().__call__(*args, **kwargs)


def job():
    """Does nothing."""


# ── against Celery ──

#: What is made of these, and what is then seen, in Celery and here.
MADE = {
    "a function": ("add = app.task(function)", "[add.name, add.__name__, add.__doc__, add(1, 2)]"),
    "a name": ("add = app.task(name='unit.add')(function)", "[add.name, 'unit.add' in app.tasks]"),
    "bind": ("add = app.task(bind=True)(bound)", "add(1)"),
    "a base with options": ("add = app.task(base=Base)(function)", "[add.max_retries, add.colour]"),
    "options over the base's": ("add = app.task(base=Base, max_retries=1)(function)", "[add.max_retries, add.colour]"),
    "a base with __call__": ("add = app.task(base=Doubling)(function)", "add(1, 2)"),
    "app.Task": (
        "add = app.register_task(type('Kind', (app.Task,), {'run': run, 'name': 'unit.kind'})())",
        "[add.name, add(3), add.app is app]",
    ),
    "an instance": ("add = app.register_task(Class())", "[add.name, add(3), add is app.tasks[add.name]]"),
    "a class": ("add = app.register_task(Class)", "[add.name, add(3), add is app.tasks[add.name]]"),
    "a named class": ("Class.name = 'unit.named'\nadd = app.register_task(Class())", "'unit.named' in app.tasks"),
    "filter": ("add = app.task(filter=lambda task: [task.name], name='unit.add')(function)", "add"),
    "a method of its own": ("add = app.task(base=Base)(function)", "add.colours()"),
    "on_bound": ("add = app.task(base=Telling)(function)\nlen(app.tasks)", "sorted(set(told))"),
    "a script's": ("function.__module__ = '__main__'\nadd = app.task(function)", "add.name"),
    "gen_task_name": ("pass", "[app.gen_task_name('f', 'm'), app.gen_task_name('f', '__main__')]"),
    "autoretry": ("add = app.task(autoretry_for=(OSError,), retry_backoff=3)(function)", "[add.retry_backoff]"),
    "defaults": ("add = app.task(function)", "{name: getattr(add, name) for name in DEFAULTS}"),
    "wraps": ("add = app.task(function)", "add.__wrapped__(1, 2)"),
    "shared and lazy": ("add = app.task(shared=False, lazy=False)(function)", "add.name"),
    "task_cls": ("app = Celery('oracle', broker='memory://', task_cls=Base)\nadd = app.task(function)", "add.colour"),
}  # fmt: skip

AROUND = """
DEFAULTS = ["max_retries", "default_retry_delay", "serializer", "time_limit", "soft_time_limit", "acks_late",
            "track_started", "expires", "priority", "trail", "ignore_result", "resultrepr_maxsize", "throws"]

def function(x, y=0):
    "Adds."
    return x + y
function.__module__ = "unit.mail"

def run(self, x):
    return x * 10

def bound(self, x):
    return [self.name, x]
bound.__module__ = "unit.mail"

class Base(Task):
    max_retries = 9
    colour = "red"
    abstract = True
    def colours(self): return [self.colour]

told = []
class Telling(Base):
    @classmethod
    def on_bound(cls, app): told.append(app.main)

class Doubling(Task):
    abstract = True
    def __call__(self, *args, **kwargs): return 2 * super().__call__(*args, **kwargs)

class Class(Task):
    run = run
Class.__module__ = "unit.classes"
"""

CELERYS = """
from celery import Celery, Task, _state
answer = []
for made, seen in given[1]:
    _state._on_app_finalizers.clear()  # a task of one application is one of all the others too
    names = {"app": Celery("oracle", broker="memory://"), "Celery": Celery, "Task": Task, "__name__": "unit"}
    exec(given[0], names); exec(made, names)
    answer.append(eval(seen, names))
"""

#: Not Celery's default -> ours.
OWN_DEFAULTS = {
    "acks_late": None, "serializer": None, "track_started": None, "ignore_result": None
}  # fmt: skip


@pytest.fixture(scope="module")
def celerys():
    return dict(zip(MADE, ask_celery(CELERYS, [AROUND, list(MADE.values())]), strict=True))


@pytest.mark.parametrize("name", MADE)
def test_a_task_is_made_as_by_celery(make_app, celerys, name):
    made, seen = MADE[name]
    names = {"app": make_app("oracle"), "Celery": make_app, "Task": Task, "__name__": "unit"}
    exec(AROUND, names)
    exec(made, names)
    ours, theirs = eval(seen, names), celerys[name]
    if name == "defaults":
        ours, theirs = {**ours, "throws": list(ours["throws"])}, {**theirs, **OWN_DEFAULTS}
    assert ours == theirs


# ── class tasks ──


def test_a_registered_class_task_belongs_to_the_app(app):
    class Mail(Task):
        def run(self, to):
            return f"to {to}"

    mail = app.register_task(Mail)
    assert mail.name == f"{__name__}.Mail"
    assert (mail.app, mail("Ada")) == (app, "to Ada")


def test_options_given_at_registration_are_attributes(app):
    assert app.register_task(type("Mail", (Task,), {"run": job}), max_retries=5).max_retries == 5


def test_a_near_miss_at_registration_is_an_error(app):
    with pytest.raises(ConfigError, match="did you mean 'max_retries'"):
        app.register_task(type("Mail", (Task,), {"run": job}), max_retrys=5)


@pytest.mark.parametrize("thing", [print, 5, int, "name"])
def test_only_tasks_are_registered(app, thing):
    with pytest.raises(TypeError, match="register_task takes a task derived from Task"):
        app.register_task(thing)


def test_a_class_task_without_run_says_so(app):
    with pytest.raises(NotImplementedError, match=r"task unit\.empty has no method run"):
        app.register_task(type("Empty", (Task,), {"name": "unit.empty"}))()


@pytest.mark.parametrize("base", [int, "Task", object(), print])
def test_a_base_is_a_class_derived_from_task(app, base):
    with pytest.raises(TypeError, match="base= takes a class derived from Task"):
        app.task(base=base)(job)


def test_task_cls_may_be_a_dotted_name(make_app):
    app = make_app(task_cls=f"{Task.__module__}.Task")
    assert isinstance(app.task(job), Task)


def test_a_subclass_of_the_app_may_name_the_class_of_its_tasks(make_app):
    from celeriac import Celery

    class Shop(Celery):
        task_cls = Counting

    assert Shop("shop", broker=":memory:").task(job).colour == "red"


def test_a_dotted_name_that_leads_nowhere_names_the_argument(make_app):
    with pytest.raises(ConfigError, match="task_cls"):
        make_app(task_cls="celeriac.task.Tsk").task(job)


# ── functions ──


def test_a_partial_function_is_a_task_with_a_name_that_is_given(app):
    task = app.task(name="unit.next")(functools.partial(lambda x, y: x + y, 1))
    assert (task.name, task(2)) == ("unit.next", 3)


def test_a_partial_function_without_a_name_is_refused_with_what_to_do(app):
    with pytest.raises(ConfigError, match=r"@app\.task\(name='\.\.\.'\)"):
        app.task(functools.partial(job))


def test_a_callable_object_is_a_task_with_a_name(app):
    class Adder:
        """Adds."""

        def __call__(self, x, y):
            return x + y

    assert app.task(name="unit.adder")(Adder())(1, 2) == 3


def test_a_filter_gives_what_stands_for_the_task(app):
    kept = app.task(filter=lambda task: types.SimpleNamespace(task=task))(job)
    assert kept.task is app.tasks[f"{__name__}.job"]


# ── names that are taken ──


def test_another_function_of_the_same_name_replaces_it_with_a_warning(app):
    app.task(name="unit.job")(job)
    with pytest.warns(DuplicateTaskNameWarning, match=r"task 'unit.job' of .*\.print replaces that of .*\.job") as told:
        task = app.task(name="unit.job")(print)
    assert app.tasks["unit.job"] is task
    assert told[0].filename == __file__


def test_the_same_function_again_is_no_mistake(app):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        app.task(job)
        app.task(job)


def test_a_class_task_that_replaces_another_one_is_told(app):
    app.task(name="unit.job")(job)
    with pytest.warns(DuplicateTaskNameWarning):
        app.register_task(type("Mail", (Task,), {"name": "unit.job"}))


# ── options ──


def test_a_warning_of_an_option_points_at_the_code_that_gave_it(app):
    with pytest.warns(CeleriacWarning, match="shoe_size") as told:
        app.task(shoe_size=45)(job)
    assert told[0].filename == __file__


def test_an_attribute_of_the_base_class_may_be_given_as_an_option(app):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert app.task(base=Counting, colour="blue")(job).colour == "blue"


# ── completing ──


def test_an_app_is_complete_when_its_tasks_are_first_used(app):
    assert not app.finalized
    _ = app.tasks
    assert app.finalized


def test_an_app_without_autofinalize_must_be_completed_first(make_app):
    app = make_app(autofinalize=False)
    with pytest.raises(RuntimeError, match=r"call app\.finalize\(\) first"):
        _ = app.tasks
    app.finalize()
    assert app.tasks == {}


def test_completion_is_told_once(app):
    told = []
    app.on_after_finalize.connect(lambda sender, **_: told.append(sender), weak=False)
    app.finalize()
    app.finalize()
    _ = app.tasks
    assert told == [app]


def test_annotations_hold_for_all_tasks_and_for_one(make_app):
    app = make_app(task_annotations={"*": {"max_retries": 10}, "unit.job": {"priority": 3}})
    one, other = app.task(name="unit.job")(job), app.task(job)
    app.finalize()
    assert (one.max_retries, one.priority) == (10, 3)
    assert (other.max_retries, other.priority) == (10, None)


def test_annotations_hold_for_tasks_that_are_made_later(make_app):
    app = make_app(task_annotations={"*": {"max_retries": 10}})
    app.finalize()
    assert app.task(job).max_retries == 10


def test_an_annotation_may_decorate_a_method(make_app):
    app = make_app(task_annotations={"unit.one": {"@__call__": lambda call: lambda *args: ["decorated", call(*args)]}})
    task = app.task(name="unit.one")(lambda: 1)
    app.finalize()
    assert task() == ["decorated", 1]


def test_an_annotation_is_checked_as_an_option(make_app):
    app = make_app(task_annotations={"*": {"throws": KeyError}})
    app.task(name="unit.one")(lambda: 1)
    assert app.tasks["unit.one"].throws == (KeyError,)
    app = make_app(task_annotations={"*": {"max_retries": "5"}})
    app.task(name="unit.one")(lambda: 1)
    with pytest.raises(ConfigError, match=r"task unit\.one: max_retries must be a whole number"):
        app.finalize()


def test_tasks_are_seen_complete_by_other_threads(make_app, monkeypatch):
    app, late, seen = make_app(), threading.Event(), []
    reader = threading.Thread(target=lambda: seen.append("unit.shared" in app.tasks))

    def make_shared(app):
        reader.start()
        late.wait(0.05)  # time in which a reader that does not wait would look
        app.task(name="unit.shared")(lambda: 1)

    monkeypatch.setattr(current, "shared_tasks", lambda: [make_shared])
    app.finalize()
    reader.join()
    assert seen == [True]


def test_an_unknown_task_is_not_registered(app):
    with pytest.raises(NotRegistered):
        app.find_task("unit.other")


def test_a_registry_refuses_a_task_without_a_name(app):
    with pytest.raises(AlreadyRegistered, match="has no name"):
        app.tasks.register(Counting())


def test_tasks_may_be_given_to_the_constructor(make_app):
    first = make_app()
    task = first.task(job)
    assert make_app(tasks=first.tasks).tasks[task.name] is task


def test_an_error_while_tasks_are_completed_is_met_by_everyone(app):
    app.task(name="unit.job")(print)
    app.conf.task_annotations = {"unit.job": {"max_retries": "many"}}
    for _ in range(2):
        with pytest.raises(ConfigError, match="max_retries"):
            _ = app.tasks


def test_modules_are_announced_before_they_are_discovered(app):
    happened = []

    def announced(sender, **_more):
        happened.append(sender)

    def packages():
        happened.append("discovered")
        return ()

    app.autodiscover_tasks(packages)
    signals.import_modules.connect(announced)
    try:
        app.import_default_modules()
    finally:
        signals.import_modules.disconnect(announced)
    assert happened == [app, "discovered"]
