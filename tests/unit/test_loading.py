import sys

import pytest

from celeriac.exceptions import AppNotFound, ConfigError
from celeriac.loading import AppImportError, find_app, load_app

MAKE = "from celeriac import Celery\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write modules into a folder of their own; what they import is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(**files):
        for name, text in files.items():
            path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for folder in {path.parent for path in tmp_path.rglob("*.py")} - {tmp_path}:
            (folder / "__init__.py").touch()
        return lambda name: find_app(name, str(tmp_path))

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_with_app(project):
    assert project(unit_a=f"{MAKE}app = Celery('found')")("unit_a").main == "found"


@pytest.mark.parametrize("variable", ["app", "celery", "application", "_private"])
def test_any_variable_of_the_module_will_do(project, variable):
    assert project(unit_a=f"{MAKE}{variable} = Celery('found')")("unit_a").main == "found"


def test_an_app_that_the_module_imported_will_do(project):
    assert (
        project(unit_a=f"{MAKE}app = Celery('found')", unit_b="from unit_a import app as mine")("unit_b").main
        == "found"
    )


@pytest.mark.parametrize(
    "name", ["unit_proj", "unit_proj.celery", "unit_proj.celery:app", "unit_proj.celery:holder.app"]
)
def test_a_package_whose_celery_module_has_it(project, name):
    code = f"{MAKE}app = Celery('found')\nclass holder: app = app"
    assert project(unit_proj__celery=code)(name).main == "found"


def test_a_package_that_has_it_itself(project, tmp_path):
    find = project(unit_proj__other="")
    (tmp_path / "unit_proj" / "__init__.py").write_text(f"{MAKE}app = Celery('found')")
    assert find("unit_proj").main == "found"


def test_a_variable_by_name(project):
    assert project(unit_a=f"{MAKE}one = Celery('1')\ntwo = Celery('2')")("unit_a:two").main == "2"


def test_app_is_preferred_among_several(project):
    assert project(unit_a=f"{MAKE}one = Celery('1')\napp = Celery('2')")("unit_a").main == "2"


def test_two_names_of_one_app_are_one(project):
    assert project(unit_a=f"{MAKE}one = two = Celery('1')")("unit_a").main == "1"


def test_several_apps_are_an_error_that_lists_them(project):
    with pytest.raises(AppNotFound, match=r"several applications \(one, two\); name one: -A unit_a:one"):
        project(unit_a=f"{MAKE}one = Celery('1')\ntwo = Celery('2')")("unit_a")


def test_no_app_is_an_error_that_names_the_file(project, tmp_path):
    with pytest.raises(AppNotFound, match=r"unit_a.py\) has no Celery application. Make one there") as caught:
        project(unit_a="x = 5")("unit_a")
    assert str(tmp_path) in str(caught.value)


def test_a_package_without_an_app_is_an_error(project):
    with pytest.raises(AppNotFound, match=r"'unit_proj'.* has no Celery application"):
        project(unit_proj__other="")("unit_proj")


@pytest.mark.parametrize("name", ["unit_missing", "unit_missing.celery", "unit_missing:app"])
def test_a_missing_module_is_an_error_that_says_where_was_looked(project, tmp_path, name):
    with pytest.raises(AppNotFound, match=r"no module 'unit_missing': looked for unit_missing\.py in") as caught:
        project()(name)
    assert str(tmp_path) in str(caught.value)
    assert not isinstance(caught.value, AppImportError)


def test_a_missing_submodule_is_named(project):
    with pytest.raises(AppNotFound, match=r"no module 'unit_proj.missing': looked for unit_proj/missing.py"):
        project(unit_proj__other="")("unit_proj.missing")


def test_a_module_that_imports_something_missing_shows_its_own_error(project):
    with pytest.raises(AppImportError, match="importing 'unit_a' failed: No module named 'unit_elsewhere'") as caught:
        project(unit_a="import unit_elsewhere")("unit_a")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_celery_module_that_imports_something_missing_shows_its_own_error(project):
    with pytest.raises(AppImportError, match="unit_elsewhere"):
        project(unit_proj__celery="import unit_elsewhere")("unit_proj")


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("from os import nothing", "ImportError: cannot import name 'nothing'"),
        ("raise OSError(2, 'No such file')", "FileNotFoundError"),
    ],
)
def test_a_module_that_raises_is_an_error_with_its_cause(project, code, why):
    with pytest.raises(AppImportError, match=f"importing 'unit_a' failed: .*{why}") as caught:
        project(unit_a=code)("unit_a")
    assert caught.value.__cause__ is not None


def test_a_missing_variable_is_an_error_that_names_what_is_there(project):
    with pytest.raises(AppNotFound, match=r"unit_a:ap is not .* no such variable in .*; did you mean unit_a:app\?"):
        project(unit_a=f"{MAKE}app = Celery('1')")("unit_a:ap")


def test_a_variable_that_is_no_app_is_an_error_that_shows_it(project):
    with pytest.raises(AppNotFound, match="unit_a:x is not a Celery application: it is 5"):
        project(unit_a="x = 5")("unit_a:x")


@pytest.mark.parametrize(("name", "meant"), [("tasks.py", "tasks"), ("proj/celery.py", "proj.celery"), ("./a.py", "a")])
def test_the_name_of_a_file_is_told_the_modules(project, name, meant):
    with pytest.raises(AppNotFound, match=f"-A {meant}$"):
        project()(name)


def test_a_module_that_exits_is_an_error_and_not_the_end(project):
    with pytest.raises(AppImportError, match="SystemExit"):
        project(unit_a="raise SystemExit(3)")("unit_a")


def test_an_import_error_is_printed_from_the_modules_first_line_on(project, capsys):
    with pytest.raises(AppImportError) as caught:
        project(unit_a="def f():\n    1 / 0\nf()")("unit_a")
    caught.value.print_cause()
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback (most recent call last):\n  File ")
    assert "unit_a.py" in printed.splitlines()[1]
    assert printed.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize("setting", ["include", "imports"])
def test_the_modules_of_the_settings_are_loaded_too(project, tmp_path, monkeypatch, setting):
    project(unit_a=f"{MAKE}app = Celery('found', {setting}=['unit_b'])", unit_b="from unit_a import app\napp.seen = 1")
    monkeypatch.chdir(tmp_path)
    assert load_app("unit_a").seen == 1


def test_a_module_of_the_settings_that_is_missing_is_an_error_that_names_the_setting(project, tmp_path, monkeypatch):
    project(unit_a=f"{MAKE}app = Celery('found', include=['unit_missing'])")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AppNotFound, match="setting include names 'unit_missing', but there is no module"):
        load_app("unit_a")


@pytest.mark.parametrize("name", ["", ":app", "tasks.py", "./tasks", "a..b", "a b", "proj/celery", "-A", "1a"])
def test_what_is_no_module_name_is_an_error_that_says_how_to_write_it(name, project):
    with pytest.raises(AppNotFound):
        project()(name)


def test_every_such_error_is_a_config_error():
    assert issubclass(AppImportError, AppNotFound)
    assert issubclass(AppNotFound, ConfigError)


def test_the_folder_is_looked_in_first(project, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "unit_a.py").write_text(f"{MAKE}app = Celery('other')")
    monkeypatch.syspath_prepend(other)
    assert project(unit_a=f"{MAKE}app = Celery('mine')")("unit_a").main == "mine"


def test_the_current_folder_is_the_default(project, tmp_path, monkeypatch):
    project(unit_a=f"{MAKE}app = Celery('mine')")
    monkeypatch.chdir(tmp_path)
    assert find_app("unit_a").main == "mine"
