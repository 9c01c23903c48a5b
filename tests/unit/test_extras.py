import sys

import pytest

from celeriac.exceptions import ConfigError
from celeriac.extras import Extra


def test_a_library_that_is_there_is_loaded():
    extra = Extra("The standard library's", "wave", "sound")
    assert extra.installed
    assert extra.load() is sys.modules["wave"]


@pytest.mark.parametrize("module", ["not_there_at_all", "not_there_at_all.below"])
def test_a_library_that_is_missing_is_named_with_the_extra_that_brings_it(module):
    extra = Extra("NotThere", module, "absent")
    assert not extra.installed
    with pytest.raises(ConfigError, match=r"NotThere is not installed: pip install 'celeriac\[absent\]'"):
        extra.load()


def test_looking_whether_a_library_is_there_does_not_import_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "this", raising=False)
    assert Extra("Zen", "this", "zen").installed
    assert "this" not in sys.modules
