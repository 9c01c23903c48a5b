import sys
from collections import OrderedDict

import pytest

from celeriac.exceptions import ConfigError
from celeriac.symbols import symbol


@pytest.mark.parametrize("name", ["collections.OrderedDict", "collections:OrderedDict"])
def test_a_name_with_a_dot_or_a_colon_is_the_object_in_the_module(name):
    assert symbol(name, "task_routes") is OrderedDict


def test_a_missing_module_or_object_is_an_error_that_names_the_setting():
    with pytest.raises(ConfigError, match=r"setting task_routes names 'unit_no.x', but there is no module 'unit_no'"):
        symbol("unit_no.x", "task_routes")
    with pytest.raises(ConfigError, match=r"module 'collections' has no 'Missing'"):
        symbol("collections.Missing", "task_routes")


@pytest.mark.parametrize("name", ["", "alone", ":x", "module:", ".x"])
def test_what_names_no_object_is_an_error(name):
    with pytest.raises(ConfigError, match="write module"):
        symbol(name, "task_routes")


def test_a_module_that_imports_something_missing_shows_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "unit_broken_router.py").write_text("import unit_elsewhere")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with pytest.raises(ModuleNotFoundError, match="unit_elsewhere"):
        symbol("unit_broken_router.route", "task_routes")
