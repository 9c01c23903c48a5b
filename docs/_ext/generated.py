"""The parts of the documentation that are made of the code: settings, commands, signals.

    ```{settings-acted-on} task          the settings of a group that celeriac acts on
    ```{settings-without-effect} planned  a table of those it does not act on (planned, accepted)
    ```{commands}                         every command with its options
    ```{commands-elsewhere}               Celery's commands that are not there, and what to use
    ```{signals}                          every signal with its arguments

`` {setting}`task_acks_late` `` refers to a setting; one that does not exist, or is in no group of the page, is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from typing import Any, ClassVar

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from celeriac import signals
from celeriac.cli import cli
from celeriac.cli.elsewhere import ELSEWHERE
from celeriac.settings import OLD_NAMES, SETTINGS, Setting

_OLD = {name: old for old, name in OLD_NAMES.items()}


class _Generated(SphinxDirective):
    """A directive whose content is Markdown made by `markdown`."""

    required_arguments: ClassVar[int] = 1

    def markdown(self) -> Iterator[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(self.markdown()), allow_section_headings=True)


class SettingsActedOn(_Generated):
    def markdown(self) -> Iterator[str]:
        group = self.arguments[0]
        chosen = [one for one in SETTINGS.values() if one.acted_on and one.group == group]
        if not chosen:
            raise self.error(f"there is no setting of the group {group!r} that celeriac acts on")
        for one in chosen:
            yield f"````{{setting}} {one.name}\n{_sentence(one.meaning)}\n\n{_facts(one)}\n````\n"


class SettingsWithoutEffect(_Generated):
    def markdown(self) -> Iterator[str]:
        chosen = [one for one in SETTINGS.values() if one.effect == self.arguments[0]]
        if not chosen:
            raise self.error(f"there is no setting whose effect is {self.arguments[0]!r}")
        yield "| setting | meaning | default | why |"
        yield "|---|---|---|---|"
        for one in chosen:
            cells = (f"`{one.name}`", one.meaning, f"`{one.default!r}`", one.note)
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _facts(setting: Setting) -> str:
    facts = [f"Takes {setting.type}", f"default `{setting.default!r}`"]
    if setting.name in _OLD:
        facts.append(f"old name `{_OLD[setting.name]}`")
    return "; ".join(facts) + "."


class Commands(_Generated):
    required_arguments: ClassVar[int] = 0

    def markdown(self) -> Iterator[str]:
        with click.Context(cli, info_name="celeriac") as context:
            yield from _command(cli, context, "##", heading="Options of every command")
            for name in cli.list_commands(context):
                command = cli.get_command(context, name)
                assert command is not None
                with click.Context(command, info_name=name, parent=context) as inner:
                    yield from _command(command, inner, "##")


class CommandsElsewhere(_Generated):
    required_arguments: ClassVar[int] = 0

    def markdown(self) -> Iterator[str]:
        yield "| Celery's command | instead |"
        yield "|---|---|"
        for name, instead in ELSEWHERE.items():
            yield f"| `celery {name}` | {instead} |"


class Signals(_Generated):
    required_arguments: ClassVar[int] = 0

    def markdown(self) -> Iterator[str]:
        yield "| signal | arguments |"
        yield "|---|---|"
        for name in signals.__all__:
            signal = getattr(signals, name)
            if name != "Signal":
                yield f"| `{name}` | {', '.join(f'`{one}`' for one in sorted(signal.providing_args))} |"


def _command(command: click.Command, context: click.Context, level: str, heading: str = "") -> Iterator[str]:
    yield f"{level} {heading or context.command_path}\n"
    yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```\n"
    yield f"```{{program}} {context.command_path}\n```\n"
    for paragraph in (command.help or command.short_help or "", command.epilog or ""):
        if paragraph and not heading:
            yield f"{_escaped(cleandoc(paragraph))}\n"
    title = ""
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None:
            if getattr(parameter, "title", title) != title:
                title = getattr(parameter, "title", title)
                yield f"**{title}**\n"
            names, text = record
            yield f"````{{option}} {names.replace(' / ', ', ')}\n{_escaped(text)}\n````\n"
    if examples := getattr(command, "examples", "").strip():
        yield f"**Examples**\n\n```sh\n{examples}\n```\n"
    if isinstance(command, click.Group) and not heading:
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            with click.Context(below, info_name=name, parent=context) as inner:
                yield from _command(below, inner, f"{level}#")


def _sentence(text: str) -> str:
    text = _escaped(text)
    return text[:1].upper() + text[1:] + "."


def _escaped(text: str) -> str:
    return text.replace("*", "\\*").replace("<", "\\<").strip()


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_object_type("setting", "setting", "pair: %s; setting")
    app.add_directive("settings-acted-on", SettingsActedOn)
    app.add_directive("settings-without-effect", SettingsWithoutEffect)
    app.add_directive("commands", Commands)
    app.add_directive("commands-elsewhere", CommandsElsewhere)
    app.add_directive("signals", Signals)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
