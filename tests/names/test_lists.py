"""Every public name of Celery works, is accepted without effect, or is planned: one list for each, with its test or why."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from names.app import APP, CONSTRUCTOR, TOP_LEVEL
from names.calls import (
    BUILT_IN_TASKS,
    CALL_OPTIONS,
    EAGER_RESULT,
    RESULT,
    RESULT_SETS,
    SIGNATURE,
    STAMPING,
)
from names.command_line import COMMANDS
from names.section import Section
from names.settings import SETTINGS_NAMES
from names.tasks import REQUEST, TASK, TASK_OPTIONS
from names.values import EXCEPTIONS, SIGNALS, STATES
from support.celery_oracle import ask_celery

SECTIONS = [
    TOP_LEVEL,
    APP,
    CONSTRUCTOR,
    TASK,
    TASK_OPTIONS,
    REQUEST,
    CALL_OPTIONS,
    RESULT,
    EAGER_RESULT,
    RESULT_SETS,
    SIGNATURE,
    STAMPING,
    BUILT_IN_TASKS,
    SIGNALS,
    EXCEPTIONS,
    STATES,
    SETTINGS_NAMES,
    *COMMANDS,
]
each_section = pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)

_ORACLE = """
import inspect
import click
import celery, celery.exceptions, celery.result, celery.signals, celery.states
from celery.app.defaults import DEFAULTS
from celery.app.task import Context
from celery.bin.celery import celery as command_line

app = celery.Celery("names", set_as_current=False)

def public(owner):
    return [name for name in dir(owner) if not name.startswith("_")]

def parameters(function):
    return [name for name in inspect.signature(function).parameters if name not in ("self", "kwargs", "options")]

def commands():
    context = click.Context(command_line)
    return [name for name in command_line.list_commands(context)]

def flags(command):
    found = command_line.get_command(click.Context(command_line), command) if command else command_line
    options = [one for one in found.params if isinstance(one, click.Option)]
    return [max(one.opts, key=len) for one in options]

answer = [eval(expression) for expression in given]
"""


@cache
def _tests() -> frozenset[str]:
    files = Path(__file__).parents[1].rglob("test_*.py")
    return frozenset(
        name for file in files for name in re.findall(r"^ *(?:async )?def (test_\w+)", file.read_text(), re.M)
    )


@pytest.fixture(scope="module")
def celery() -> dict[str, list[str]]:
    """The names that the released Celery has, by section."""
    answers: list[Any] = ask_celery(_ORACLE, [section.celery for section in SECTIONS])
    return dict(zip((section.title for section in SECTIONS), answers, strict=True))


@each_section
def test_every_name_is_in_one_list(section: Section) -> None:
    names = section.names()
    assert [name for name in names if names.count(name) > 1] == []


@each_section
def test_every_public_name_of_celery_is_in_a_list(section: Section, celery: dict[str, list[str]]) -> None:
    assert sorted(set(celery[section.title]) - set(section.names())) == []


@each_section
def test_what_works_is_shown_by_a_test(section: Section) -> None:
    assert [test for test in section.works if test not in _tests()] == []


@each_section
def test_what_works_is_there_and_what_is_planned_is_not(section: Section) -> None:
    assert section.has is not None
    assert [name for name in section.names("works") if not section.has(name)] == []
    assert [name for name in section.names("planned") if section.has(name)] == []


@each_section
def test_what_does_not_work_has_a_reason(section: Section) -> None:
    for reason in (*section.accepted, *section.planned, *section.internal):
        assert len(reason.split()) >= 2, reason


def test_the_lists_are_what_they_are_said_to_be(record_property: Any) -> None:
    counts = {kind: sum(len(section.names(kind)) for section in SECTIONS) for kind in ("works", "accepted", "planned")}
    record_property("figure", json.dumps(counts))
    assert counts["works"] > counts["accepted"] + counts["planned"]
