"""Flags of the command line, where no other test shows them."""

from __future__ import annotations

import click
import pytest

from celeriac.cli import cli
from names.command_line import COMMANDS, command

_VALUES = {
    "--workdir": ".",
    "--pool": "prefork",
    "--time-limit": "9",
    "--soft-time-limit": "8",
    "--max-tasks-per-child": "3",
    "--max-memory-per-child": "100000",
    "--umask": "022",
    "--timeout": "2",
    "--destination": "one@host",
}
_FLAGS = [
    (section.title.removeprefix("celeriac").strip(), flag)
    for section in COMMANDS[1:]
    for flag in section.works.get("test_a_flag_of_celerys_is_taken", "").split()
]


@pytest.mark.parametrize(("owner", "flag"), _FLAGS)
def test_a_flag_of_celerys_is_taken(owner: str, flag: str) -> None:
    found = command(owner)
    assert found is not None
    option = next(one for one in found.params if isinstance(one, click.Option) and flag in one.opts)
    value = [] if option.is_flag else [_VALUES.get(flag, "1")]
    more = ["names.job"] if owner == "call" else []
    context = found.make_context(owner or "celeriac", [flag, *value, *more, *([] if owner else ["status"])])
    assert option.name in context.params or not option.expose_value
    assert context.get_parameter_source(str(option.name)) is not None or not option.expose_value


def test_a_command_of_celerys_that_is_not_there_is_an_error() -> None:
    for name in ("beat", "events", "inspect"):
        with pytest.raises(click.ClickException, match=name):
            cli.main([name], standalone_mode=False)
