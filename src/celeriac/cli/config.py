"""`celeriac config`: the values of settings, and where each came from."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import click

from celeriac.cli.context import Context, pass_context
from celeriac.cli.output import table
from celeriac.settings import SETTINGS, censored, closest
from celeriac.settings.censoring import shown

__all__ = ["command"]

_WIDEST_VALUE = 60


@click.command()
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="With the settings that have their default value.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with whole values.")
@click.option("-v", "--verbose", is_flag=True, help="With what each setting means and takes.")
@pass_context
def command(context: Context, name: str | None, everything: bool, as_json: bool, verbose: bool) -> None:
    """Show settings and where each value came from; secrets are masked.

    Shows those that were changed, or those whose NAME is given: one, or a pattern such as "task_*".
    """
    conf = context.look_at_app().conf
    values = conf.table(with_defaults=everything or name is not None, censored=False)
    names = [known for known in sorted(values) if name is None or fnmatchcase(known, name)]
    if not names and name is not None:
        near = closest(name, values)
        raise click.UsageError(f"there is no setting {name!r}" + (f"; did you mean {near!r}?" if near else ""))
    if as_json:
        click.echo(
            json.dumps(
                [_facts(known, values[known], conf.source(known)) for known in names],
                indent=2,
                default=lambda value: shown("", value),
            )
        )
    elif not names:
        click.echo("Every setting has its default value; --all shows them.")
    elif verbose:
        click.echo("\n\n".join(_told(known, values[known], conf.source(known)) for known in names))
    else:
        rows = [(known, _short(shown(known, values[known])), conf.source(known)) for known in names]
        click.echo(table(("name", "value", "source"), rows))


def _facts(name: str, value: Any, source: str) -> dict[str, Any]:
    facts = {"name": name, "value": censored(name, value), "source": source}
    setting = SETTINGS.get(name)
    if setting is None:
        return facts
    return {
        **facts,
        "default": setting.default,
        "meaning": setting.meaning,
        "type": setting.type,
        "effect": setting.effect,
    }


def _told(name: str, value: Any, source: str) -> str:
    lines = [f"{name} = {shown(name, value)}  ({source})"]
    setting = SETTINGS.get(name)
    if setting is not None:
        lines += [setting.meaning, f"takes {setting.type}; default {setting.default!r}"]
        lines += [] if setting.acted_on else [f"{setting.effect}: {setting.note}"]
    return "\n  ".join(lines)


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST_VALUE else f"{text[: _WIDEST_VALUE - 3]}..."
