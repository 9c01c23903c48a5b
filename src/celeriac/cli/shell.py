"""`celeriac shell`: Python with the application and its tasks."""

from __future__ import annotations

import sys
from typing import Any

import click

import celeriac
from celeriac.app import Celery
from celeriac.cli.context import Context, pass_context
from celeriac.exceptions import ConfigError

__all__ = ["command"]

_NO_GREEN = "celeriac has no {} support; write tasks that wait as async def, which every pool runs"


@click.command()
@click.option("-I", "--ipython", "shell", flag_value="ipython", help="IPython.")
@click.option("-B", "--bpython", "shell", flag_value="bpython", help="bpython.")
@click.option("-P", "--python", "shell", flag_value="python", help="Plain Python. The default.")
@click.option("-T", "--without-tasks", is_flag=True, help="Do not make the tasks known by their function's name.")
@click.option("--eventlet", is_flag=True, hidden=True)
@click.option("--gevent", is_flag=True, hidden=True)
@pass_context
def command(context: Context, shell: str | None, without_tasks: bool, eventlet: bool, gevent: bool) -> None:
    """Open Python with the application and its tasks.

    There are app (also as celery), Task, AsyncResult, and each task by the name of its function: add.delay(4, 4).
    """
    for asked, name in ((eventlet, "eventlet"), (gevent, "gevent")):
        if asked:
            raise ConfigError(_NO_GREEN.format(name))
    app = context.look_at_app()
    namespace = _namespace(app, with_tasks=not without_tasks)
    banner = "" if context.quiet else _banner(app, namespace)
    {"ipython": _ipython, "bpython": _bpython}.get(shell or "", _python)(namespace, banner)


def _namespace(app: Celery, with_tasks: bool) -> dict[str, Any]:
    ours = {"app": app, "celery": app, "Task": celeriac.Task, "AsyncResult": app.AsyncResult}
    tasks = {name.rpartition(".")[2]: task for name, task in app.tasks.items()} if with_tasks else {}
    return {**tasks, **ours}


def _banner(app: Celery, namespace: dict[str, Any]) -> str:
    version = sys.version.split()[0]
    return f"celeriac {celeriac.__version__}, Python {version}, {app!r}\nHere are: {', '.join(sorted(namespace))}"


def _python(namespace: dict[str, Any], banner: str) -> None:
    import code

    try:
        import readline
        import rlcompleter
    except ImportError:
        pass  # a Python without readline has a shell all the same
    else:
        readline.set_completer(rlcompleter.Completer(namespace).complete)
        readline.parse_and_bind("tab: complete")
    code.interact(banner=banner, local=namespace, exitmsg="")


def _ipython(namespace: dict[str, Any], banner: str) -> None:
    try:
        import IPython
        from traitlets.config import Config
    except ImportError:
        raise ConfigError("IPython is not installed: pip install ipython, or leave -I out") from None
    config = Config()
    config.TerminalInteractiveShell.banner1 = f"{banner}\n"
    IPython.start_ipython(argv=[], user_ns=namespace, config=config)


def _bpython(namespace: dict[str, Any], banner: str) -> None:
    try:
        import bpython
    except ImportError:
        raise ConfigError("bpython is not installed: pip install bpython, or leave -B out") from None
    bpython.embed(namespace, banner=banner)
