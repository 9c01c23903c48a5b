"""`celeriac completion`: what makes the Tab key complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["command"]


@click.command(
    epilog="To have it, add one line to the file that your shell reads at its start. "
    'bash, ~/.bashrc:  eval "$(celeriac completion bash)". '
    'zsh, ~/.zshrc, behind compinit:  eval "$(celeriac completion zsh)". '
    "fish: celeriac completion fish > ~/.config/fish/completions/celeriac.fish"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a script with which Tab completes commands, options, pools and levels.

    Where -A stands before, also its queues and tasks.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "celeriac", "_CELERIAC_COMPLETE").source())
