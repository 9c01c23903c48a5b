import sys

import pytest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Make a package with these modules; it is forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def package(name, **modules):
        (tmp_path / name).mkdir()
        for module, text in {"__init__": "", **modules}.items():
            (tmp_path / name / f"{module}.py").write_text(text)
        made.append(name)
        return name

    yield package
    for module in [module for module in sys.modules if module.partition(".")[0] in made]:
        del sys.modules[module]


def test_the_tasks_of_a_package_are_imported_when_they_are_needed(app, package):
    name = package("unit_shop", tasks="")
    app.autodiscover_tasks([name])
    assert "unit_shop.tasks" not in sys.modules
    app.import_default_modules()
    assert "unit_shop.tasks" in sys.modules


def test_force_imports_at_once(app, package):
    app.autodiscover_tasks([package("unit_shop", tasks="")], force=True)
    assert "unit_shop.tasks" in sys.modules


def test_another_module_may_be_looked_for(app, package):
    app.autodiscover_tasks([package("unit_shop", jobs="")], related_name="jobs", force=True)
    assert "unit_shop.jobs" in sys.modules


def test_without_a_related_name_the_package_itself_is_imported(app, package):
    app.autodiscover_tasks([package("unit_shop", tasks="")], related_name=None, force=True)
    assert "unit_shop" in sys.modules
    assert "unit_shop.tasks" not in sys.modules


def test_a_package_without_the_module_is_passed_over(app, package):
    app.autodiscover_tasks([package("unit_shop"), package("unit_mail", tasks="")], force=True)
    assert "unit_mail.tasks" in sys.modules


def test_a_function_that_names_the_packages_is_called_when_it_is_time(app, package):
    name = package("unit_shop", tasks="")
    calls = []
    app.autodiscover_tasks(lambda: calls.append(1) or [name])
    assert calls == []
    app.discover()
    app.discover()
    assert calls == [1]
    assert "unit_shop.tasks" in sys.modules


def test_an_error_inside_of_the_module_is_raised(app, package):
    name = package("unit_shop", tasks="import unit_no_such_module")
    with pytest.raises(ModuleNotFoundError, match="unit_no_such_module"):
        app.autodiscover_tasks([name], force=True)


def test_a_package_that_is_missing_is_an_error(app):
    with pytest.raises(ModuleNotFoundError, match="unit_no_such_package"):
        app.autodiscover_tasks(["unit_no_such_package"], force=True)


def test_a_plain_module_is_imported_as_it_is(app, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "unit_plain.py").touch()
    app.autodiscover_tasks(["unit_plain"], force=True)
    monkeypatch.delitem(sys.modules, "unit_plain")
