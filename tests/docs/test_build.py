"""The documentation builds without a warning, and what is made of the code is whole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from celeriac import signals
from celeriac.cli import cli
from celeriac.settings import SETTINGS

_ROOT = Path(__file__).parents[2]
_SOURCE = _ROOT / "src" / "celeriac"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-W",
            "--keep-going",
            "-d",
            folder / "cache",
            _ROOT / "docs",
            folder / "html",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return folder / "html"


def test_every_setting_is_there(site: Path) -> None:
    page = (site / "settings.html").read_text(encoding="utf-8")
    assert [name for name in SETTINGS if name not in page] == []
    described = set(re.findall(r'id="setting-(\w+)"', page))
    assert described == {name for name, setting in SETTINGS.items() if setting.acted_on}


def test_every_command_and_option_is_there(site: Path) -> None:
    page = (site / "command-line.html").read_text(encoding="utf-8")
    with click.Context(cli) as context:
        options = {
            f'id="cmdoption-celeriac-{name}-{option.lstrip("-").lower()}"'
            for name in cli.list_commands(context)
            for command in [cli.get_command(context, name)]
            if command is not None
            for parameter in command.params
            if isinstance(parameter, click.Option) and not parameter.hidden
            for option in parameter.opts[-1:]
        }
    assert {option for option in options if option.lower() not in page.lower()} == set()


def test_the_page_of_signals_lists_those_that_are_sent() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in _SOURCE.rglob("*.py"))
    sent = {
        name
        for name in [*signals.__all__, "import_modules"]
        if re.search(rf"\b{name}\.send\(|announce\(\"{name}\"", text)
    }
    listed = set(
        re.findall(r"^\| `(\w+)` \|", (_ROOT / "docs" / "signals.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert listed == sent
