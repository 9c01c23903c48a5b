"""Another process at the same store, led by the test: `peer.broker.publish(...)` runs over there.

Calls and answers are pickled frames on the peer's standard input and output; it ends when its input does.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from celeriac.engines import open_broker
from celeriac.engines.base import Broker, EngineOptions, ResultStore

__all__ = ["Peer"]

_TESTS = Path(__file__).resolve().parent.parent


class Peer:
    """A process with a broker of its own. `kill` is SIGKILL."""

    def __init__(self, url: str, folder: str, *, prefix: Sequence[str] = (), timeout_s: float = 30.0) -> None:
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "conformance.peer", url, folder, str(timeout_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(_TESTS)},
        )
        self.broker = cast(Broker, _Remote(self, "broker"))
        self.results = cast(ResultStore, _Remote(self, "results"))

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """`function(broker, *args)` over there; the function must lie in a module that both can import."""
        self.begin(function, *args)
        return self.answer()

    def begin(self, function: Callable[..., Any], *args: Any) -> None:
        """As `run`, without waiting for the answer."""
        self.send(("run", function, args))

    def send(self, request: tuple[str, Any, tuple[Any, ...]]) -> None:
        assert self._process.stdin is not None
        pickle.dump(request, self._process.stdin)
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What the call that was begun returned, or raises what it raised."""
        assert self._process.stdout is not None
        worked, value = pickle.load(self._process.stdout)
        if not worked:
            raise value
        return value

    def kill(self) -> None:
        """It is gone, in the middle of whatever it did."""
        self.signal(signal.SIGKILL)
        self._reap()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def close(self) -> None:
        if self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._reap()

    def _reap(self) -> None:
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Remote:
    """Stands for the broker or result store of the other process."""

    def __init__(self, peer: Peer, target: str) -> None:
        self._peer = peer
        self._target = target

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self._peer.send((self._target, method, args))
            return self._peer.answer()

        return call


def _serve(url: str, folder: str, timeout_s: float, requests: BinaryIO, answers: BinaryIO) -> None:
    broker = open_broker(url, EngineOptions(folder, timeout_s))
    targets = {"broker": broker, "results": broker.result_store()}
    while True:
        try:
            target, what, args = pickle.load(requests)
        except EOFError:
            break
        try:
            answer = True, what(broker, *args) if target == "run" else getattr(targets[target], what)(*args)
        except Exception as error:
            answer = False, error
        pickle.dump(answer, answers)
        answers.flush()
    broker.close()


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.stdin.buffer, sys.stdout.buffer)
