import inspect
import sys
from types import ModuleType, SimpleNamespace

import pytest

from celeriac.annotations import apply, resolve
from celeriac.exceptions import ConfigError
from support.celery_oracle import ask_celery

# What both sides have.
NAMES = """
def tenfold(method):
    def call(self, *args, **kwargs): return 10 * method(self, *args, **kwargs)
    return call
def plus_one(method):
    def call(self, *args, **kwargs): return 1 + method(self, *args, **kwargs)
    return call
def saying(method):
    def call(self, task_id): return f"result {task_id} of {self.name}"
    return call
class Named:
    def annotate(self, task): return {"max_retries": len(task.name)}
class Nothing:
    def annotate(self, task): return None
    def annotate_any(self): return None
class Empty:
    def annotate(self, task): return {}
class Everything:
    def annotate_any(self): return {"max_retries": 77}
def add(x, y): return x + y
def add_bound(self, x, y): return x + y
"""
SEE = "[task.max_retries, getattr(task, 'mark', None), task(2, 3), str(task.AsyncResult('7')).startswith('result')]"
CASES = [
    "None",
    "{}",
    "{'*': {'max_retries': 11}}",
    "{'unit.add': {'max_retries': 12, 'mark': 'x'}}",
    "{'unit.other': {'max_retries': 13}}",
    "{'unit.add': {'max_retries': 14, 'mark': 'x'}, '*': {'max_retries': 15}}",
    "[{'unit.add': {'max_retries': 16}}, {'unit.add': {'max_retries': 17, 'mark': 'x'}}]",
    "({'unit.other': {'max_retries': 18}}, {'unit.add': {'mark': 'x'}}, {'*': {'max_retries': 19}})",
    "[{'*': {'max_retries': 20}}, {'*': {'mark': 'x'}}]",
    "[{'unit.add': {}}, {'unit.add': {'max_retries': 21}}]",
    "Named()",
    "[Nothing(), Named()]",
    "[Empty(), Named()]",
    "[Everything(), Named()]",
    "[{'*': {'mark': 'x'}}, Everything(), Named()]",
    "'unit_annotations.Named'",
    "['unit_annotations:Everything', {'unit.add': {'mark': 'x'}}]",
    "{'*': {'@__call__': tenfold}}",
    "{'*': {'@__call__': tenfold}, 'unit.add': {'@__call__': plus_one}}",
    "{'*': {'@__call__': tenfold, 'mark': 'x'}, 'unit.other': {'@__call__': plus_one}}",
    "{'unit.add': {'@AsyncResult': saying}}",
]
ASK = f"""
import sys, types
from celery import Celery
sys.modules["unit_annotations"] = names = types.ModuleType("unit_annotations")
exec(given["names"], vars(names))
def annotated(annotations, function, **options):
    app = Celery("unit", broker="memory://", set_as_current=False)
    app.conf.task_annotations = eval(annotations, vars(names))
    task = app.task(function, name="unit.add", **options)
    return {SEE}
answer = [annotated(case, names.add) for case in given["cases"]]
answer += [annotated("{{'*': {{'@run': tenfold}}}}", names.add_bound, bind=True)]
"""


@pytest.fixture
def names(monkeypatch):
    module = ModuleType("unit_annotations")
    exec(NAMES, vars(module))
    monkeypatch.setitem(sys.modules, "unit_annotations", module)
    return module


@pytest.fixture
def task(make_app, names):
    return make_app().task(names.add, name="unit.add")


def test_tasks_are_annotated_as_by_celery(make_app, names):
    def annotated(annotations, function, **options):
        task = make_app().task(function, name="unit.add", **options)
        apply(resolve(eval(annotations, vars(names))), task)
        return eval(SEE, {"task": task})

    theirs = ask_celery(ASK, {"names": NAMES, "cases": CASES})
    ours = [annotated(case, names.add) for case in CASES]
    ours += [annotated("{'*': {'@run': tenfold}}", names.add_bound, bind=True)]
    different = [found for found in zip([*CASES, "@run"], ours, theirs, strict=True) if found[1] != found[2]]
    assert different == [], "\n".join(map(str, different))


def test_a_decorated_call_changes_no_other_task(make_app, names):
    app = make_app()
    one, other = app.task(names.add, name="unit.add"), app.task(names.add, name="unit.other")
    apply(resolve({"unit.add": {"@__call__": names.tenfold}}), one)
    assert (one(1, 2), other(1, 2)) == (30, 3)


def test_a_function_without_self_is_decorated_as_it_is(task):
    apply(resolve({"*": {"@run": lambda run: lambda x, y: -run(x, y)}}), task)
    assert task.run(2, 3) == -5


def test_a_static_method_stays_one():
    class Task:
        name = "unit.add"

        @staticmethod
        def run(x, y):
            return x + y

    task = Task()
    apply(resolve({"*": {"@run": lambda run: lambda x, y: -run(x, y)}}), task)
    assert task.run(2, 3) == -5


def test_a_method_that_no_task_has_is_an_error(task):
    with pytest.raises(ConfigError, match=r"task unit\.add has no method 'cal' to decorate"):
        apply(resolve({"*": {"@cal": abs}}), task)


def test_a_decorated_function_still_shows_its_own_arguments(task):
    def logged(run):
        def call(*args):
            return run(*args)

        return call

    apply(resolve({"*": {"@run": logged}}), task)
    assert str(inspect.signature(task.run)) == "(x, y)"


def test_a_decorator_may_return_what_cannot_say_what_it_wraps(task):
    apply(resolve({"*": {"@run": lambda _run: max}}), task)
    assert task.run(2, 3) == 3


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        (5, "5 is no dictionary, and has no method annotate"),
        ([{}, None], "None is no dictionary"),
        ({"unit.add": 5}, "'unit.add' needs a dictionary of attributes, not 5"),
        ("unit_annotations.Nmaed", "module 'unit_annotations' has no 'Nmaed'"),
        ("unit_missing.Named", "there is no module 'unit_missing'"),
        ("Named", "'Named' is not the name of an object; write module.name"),
    ],
)
def test_what_is_no_annotation_is_an_error_that_names_the_setting(names, annotations, message):
    with pytest.raises(ConfigError, match=f"setting task_annotations.*{message}"):
        resolve(annotations)


def test_an_answer_that_is_no_dictionary_is_an_error(task):
    with pytest.raises(ConfigError, match=r"annotate_any of .* must return a dictionary or None, not 5"):
        apply(resolve(SimpleNamespace(annotate_any=lambda: 5)), task)
