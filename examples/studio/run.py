"""The studio from start to end: a mail server, a worker, the web server, and what is seen of it in a terminal."""

import argparse
import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import uvicorn

from celeriac.exceptions import OperationalError
from celeriac.insights import overview
from examples.shared.samples import SAMPLES
from examples.shared.smtp_sink import SmtpSink
from examples.shared.worker import WorkerDied
from examples.studio.app import HOME, app
from examples.studio.backstage import Backstage
from examples.studio.studio import Studio
from examples.studio.view import show
from examples.studio.web import make_web

__all__ = ["main"]

PORT = int(os.environ.get("STUDIO_PORT", "8421"))
FULL_SHARE = 0.02
#: Says that a folder is a studio's, and may be emptied: STUDIO_HOME is easily mistaken.
MARK = HOME / "studio.txt"


class Trouble(Exception):
    """Why it cannot begin, for people."""


def main() -> int:
    """Run until Ctrl-C; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.studio", description=__doc__)
    parser.add_argument("--empty", action="store_true", help="begin without the sample pictures")
    samples = {} if parser.parse_args().empty else SAMPLES
    # The default for both is to die on the spot, and to leave the workers behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        with _listen() as listening:
            _begin_with_nothing()
            _run(listening, samples)
    except KeyboardInterrupt:
        return 0
    except (Trouble, OperationalError, WorkerDied) as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _listen() -> socket.socket:
    # On the loopback only. asyncio turns off Nagle's delay (40 ms for each answer) only where it sees that this is TCP.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", PORT))
        listening.listen()
    except OSError as exc:
        listening.close()
        raise Trouble(f"cannot listen on port {PORT}: {exc.strerror}. Name another one: STUDIO_PORT=8422") from exc
    return listening


def _begin_with_nothing() -> None:
    """Remove what an earlier studio has left; in the store too, as it is about pictures that are gone."""
    queues = app.conf.task_queues
    if HOME.exists():
        if not MARK.exists() and any(HOME.iterdir()):
            raise Trouble(f"{HOME} holds other things than a studio's. Name a folder of its own: STUDIO_HOME=studio")
        for one in overview(app).workers:
            if one.alive and not set(queues).isdisjoint(one.node.queues):
                raise Trouble(
                    f"another studio works in {HOME}: {one.node.name}, process {one.node.pid} on {one.node.host}"
                )
        app.close()
        shutil.rmtree(HOME)
    HOME.mkdir(parents=True)
    MARK.write_text("This folder is a studio's. It is emptied whenever a studio opens.\n")
    for queue in queues:
        app.broker.purge(queue)
        app.dead_letters.drop([letter.id for letter in app.dead_letters.find(queue=queue)])


def _run(listening: socket.socket, samples: Mapping[str, Path]) -> None:
    with SmtpSink("mailbox", FULL_SHARE) as sink, Backstage(sink.port) as backstage:
        backstage.start_worker()
        studio = Studio(backstage.look)
        # Open pages listen for ever; when the server is to end they get a moment to notice.
        config = uvicorn.Config(
            make_web(studio, *backstage.routes()), log_level="critical", timeout_graceful_shutdown=1, access_log=False
        )
        try:
            asyncio.run(_serve(uvicorn.Server(config), listening, studio, samples))
        finally:  # uvicorn has shut down and hands on the signal
            print("\nStopping the workers; what they have begun they finish.", flush=True)


async def _serve(server: uvicorn.Server, listening: socket.socket, studio: Studio, samples: Mapping[str, Path]) -> None:
    print(f"The studio is open: http://127.0.0.1:{listening.getsockname()[1]}/   (Ctrl-C closes it)\n", flush=True)
    showing = asyncio.create_task(show(studio))
    feeding = asyncio.create_task(_feed(studio, samples))
    try:
        await server.serve(sockets=[listening])
    finally:
        for task in (showing, feeding):
            task.cancel()
        await asyncio.gather(showing, feeding, return_exceptions=True)


async def _feed(studio: Studio, samples: Mapping[str, Path]) -> None:
    for name, path in samples.items():
        await studio.add(name, path.read_bytes())
