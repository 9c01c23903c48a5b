import os
import sys
import types

import pytest

from celeriac.configuration import defer_envvar, defer_object, read_object
from celeriac.exceptions import ConfigError
from celeriac.settings import Settings


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where modules are written, as the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def module(folder, monkeypatch, request):
    """Write a module of a name that no other test has."""
    made = []

    def write(text):
        name = f"configuration_of_{abs(hash(request.node.nodeid))}_{len(made)}"
        (folder / f"{name}.py").write_text(text)
        made.append(name)
        return name

    yield write
    for name in made:
        sys.modules.pop(name, None)


def test_a_module_is_read_without_its_imports_functions_classes_and_private_names(module):
    name = module(
        "from __future__ import annotations\nimport os\nfrom datetime import timedelta\n_private = 1\n"
        "def helper(): pass\nclass Helper: pass\n"
        "max_deliveries = 7\nresult_expires = timedelta(hours=1)\ntask_routes = helper\nplug_in = 'x'\n"
    )
    read = read_object(name)
    assert set(read) == {"max_deliveries", "result_expires", "task_routes", "plug_in"}
    assert read["max_deliveries"] == 7


def test_classes_instances_mappings_and_modules_are_read():
    class Config:
        max_deliveries = 7

    made = types.ModuleType("made")
    made.max_deliveries = 7
    for obj in (Config, Config(), made, {"max_deliveries": 7}):
        assert read_object(obj) == {"max_deliveries": 7}


@pytest.mark.parametrize("separator", [":", "."])
def test_a_dotted_name_may_lead_to_a_class_in_a_module(module, separator):
    name = module("class Config:\n    max_deliveries = 7\n")
    assert read_object(f"{name}{separator}Config") == {"max_deliveries": 7}


def test_an_instance_has_attributes_for_other_purposes():
    class Config:
        max_deliveries = 7
        debug = True
        SECRET = "x"
        task_colour = "red"

    assert read_object(Config()) == {"max_deliveries": 7, "task_colour": "red"}


def test_a_namespace_takes_names_that_begin_with_it():
    given = {"CELERY_TASK_ALWAYS_EAGER": True, "CELERY_REDBEAT_KEY": "k", "SECRET_KEY": "s", "DEBUG": True}
    assert read_object(given, namespace="CELERY") == {"task_always_eager": True, "redbeat_key": "k"}


def test_mixing_old_and_new_names_is_an_error_that_lists_what_to_rename():
    with pytest.raises(ConfigError, match=r"a dictionary mixes .*lower-case.*\n  BROKER_URL -> broker_url$"):
        read_object({"task_serializer": "json", "timezone": "UTC", "BROKER_URL": "redis://"})
    with pytest.raises(ConfigError, match=r"old upper-case.*\n  timezone -> CELERY_TIMEZONE$"):
        read_object({"CELERY_TASK_SERIALIZER": "json", "BROKER_URL": "redis://", "timezone": "UTC"})


def test_our_own_settings_have_no_old_names_and_mix_with_either():
    assert read_object({"BROKER_URL": "redis://", "max_deliveries": 7}) == {
        "broker_url": "redis://",
        "max_deliveries": 7,
    }


def test_a_missing_module_says_where_it_was_looked_for(folder):
    with pytest.raises(
        ConfigError, match=r"no configuration module 'no_such_config': looked for no_such_config.py in"
    ) as e:
        read_object("no_such_config")
    assert os.getcwd() in str(e.value)


def test_a_missing_attribute_is_named(module):
    name = module("x = 1")
    with pytest.raises(ConfigError, match=f"module '{name}' has no 'Config'"):
        read_object(f"{name}:Config")


def test_the_name_of_a_file_is_answered_with_the_modules(module):
    name = module("x = 1")
    with pytest.raises(ConfigError, match=f"is the name of a file; .*: '{name}'$"):
        read_object(f"{name}.py")


def test_silent_passes_over_a_missing_module_and_no_other_error(module, folder):
    assert read_object("no_such_config", silent=True) == {}
    name = module("import no_such_dependency")
    with pytest.raises(ConfigError, match=f"reading {name} failed: ModuleNotFoundError: .*no_such_dependency"):
        read_object(name, silent=True)


def test_an_error_in_a_module_says_the_line(module):
    name = module("x = 1\ny = x / 0\n")
    with pytest.raises(ConfigError, match=rf"ZeroDivisionError: division by zero \(.*{name}.py, line 2\)") as caught:
        read_object(name)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_deferred_object_is_imported_at_the_first_read(module):
    conf = Settings()
    defer_object(conf, "no_such_config")
    name = module("max_deliveries = 7\n")
    defer_object(conf, name)
    assert (conf.max_deliveries, conf.source("max_deliveries")) == (7, name)


def test_a_missing_deferred_module_is_an_error_at_each_read(folder):
    conf = Settings()
    defer_object(conf, "no_such_config")
    for _ in range(2):
        with pytest.raises(ConfigError, match="no_such_config"):
            _ = conf.timezone


def test_an_environment_variable_names_the_configuration(module, monkeypatch):
    monkeypatch.setenv("PROJ_CONFIG", module("max_deliveries = 7\n"))
    conf = Settings()
    assert defer_envvar(conf, "PROJ_CONFIG")
    assert conf.max_deliveries == 7


def test_an_environment_variable_that_is_not_set_is_an_error_unless_silent(monkeypatch):
    monkeypatch.delenv("PROJ_CONFIG", raising=False)
    assert defer_envvar(Settings(), "PROJ_CONFIG", silent=True) is False
    with pytest.raises(ConfigError, match="variable PROJ_CONFIG is not set"):
        defer_envvar(Settings(), "PROJ_CONFIG")
