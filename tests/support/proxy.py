"""A TCP proxy that makes trouble: it cuts connections, goes silent, or swallows answers."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self

__all__ = ["Proxy"]


class Proxy:
    """Between a client and `127.0.0.1:target`. All switches may be turned at any time, from any thread."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._closed = False
        self._pattern = b""
        self._to_swallow = self._matched = 0
        self._every = 1
        #: How many answers were swallowed.
        self.swallowed = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def blackhole(self) -> None:
        """From now on nothing passes in either direction; connections stand, and new ones are accepted."""
        self._open.clear()

    def pass_on(self) -> None:
        """Let everything through again, also what was held back."""
        self._open.set()

    def cut(self) -> None:
        """Reset every connection there is."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            for end in pair:
                _shut(end)

    def swallow(self, pattern: bytes, count: int, every: int = 1) -> None:
        """Lose `count` answers, one of `every` to requests with the pattern, and what follows on their connections."""
        with self._lock:
            self._pattern, self._to_swallow, self._every = pattern, count, every

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5.0)
            except OSError:
                _shut(client)
                continue
            server.settimeout(None)
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            silent = threading.Event()
            threading.Thread(target=self._forward, args=(pair, client, server, silent, True), daemon=True).start()
            threading.Thread(target=self._forward, args=(pair, server, client, silent, False), daemon=True).start()

    def _forward(
        self,
        pair: tuple[socket.socket, socket.socket],
        source: socket.socket,
        sink: socket.socket,
        silent: threading.Event,
        request: bool,
    ) -> None:
        try:
            while data := source.recv(65536):
                self._open.wait()
                if request:
                    self._choose(data, silent)
                elif silent.is_set():
                    continue
                sink.sendall(data)
        except OSError:
            pass
        for end in pair:
            _shut(end)
        with self._lock:
            self._pairs.discard(pair)

    def _choose(self, data: bytes, silent: threading.Event) -> None:
        with self._lock:
            if self._to_swallow == 0 or self._pattern not in data or silent.is_set():
                return
            self._matched += 1
            if self._matched % self._every == 0:
                self._to_swallow -= 1
                self.swallowed += 1
                silent.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        _shut(self._listener)
        self._open.set()
        self.cut()


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()
