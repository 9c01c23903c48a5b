"""A TCP proxy that makes trouble: it delays and drips, cuts and resets, goes silent, goes half-open, swallows answers."""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

__all__ = ["Proxy"]

#: Close sends a reset, and what is unsent is thrown away.
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class _Link:
    """One connection through the proxy: its two ends."""

    client: socket.socket
    server: socket.socket
    #: An answer was swallowed; nothing more comes back on this connection.
    silent: threading.Event = field(default_factory=threading.Event)
    #: Half-open: it stands for both sides, and nothing passes ever again.
    dead: bool = False
    reset: bool = False

    def end(self) -> None:
        for side in (self.client, self.server):
            if not self.reset:
                _shut_down(side, socket.SHUT_RDWR)
            side.close()


class Proxy:
    """Between a client and `127.0.0.1:target`. All switches may be turned at any time, from any thread."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        #: Everything takes this much longer, in each direction.
        self.delay_s = 0.0
        #: Everything comes in pieces of so many bytes, a millisecond apart; 0 is all at once.
        self.drip_bytes = 0
        #: How many answers were swallowed.
        self.swallowed = 0
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._refusing = self._forgetting = self._closed = False
        self._pattern = b""
        self._to_swallow = self._matched = 0
        self._every = 1
        self._thread = threading.Thread(target=self._accept, daemon=True)

    # ── the switches ─────────────────────────────────────────────────────────────────────────────────────────────────

    def blackhole(self) -> None:
        """From now on nothing passes in either direction; connections stand, and new ones are accepted."""
        self._open.clear()

    def half_open(self) -> None:
        """Forget every connection there is, and each that comes: they stand, and what is sent on them is lost for ever."""
        self._forgetting = True
        for link in self._all():
            link.dead = True

    def refuse(self) -> None:
        """Cut every connection there is, and each that comes."""
        self._refusing = True
        self.cut()

    def pass_on(self) -> None:
        """Let everything through again, at once, also what `blackhole` held back."""
        self._refusing = self._forgetting = False
        self.delay_s, self.drip_bytes = 0.0, 0
        self._open.set()

    def cut(self) -> None:
        """End every connection there is, in order."""
        for link in self._all():
            link.end()

    def reset(self) -> None:
        """End every connection there is by a reset (RST)."""
        for link in self._all():
            link.reset = True
            for side in (link.client, link.server):
                try:
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
                except OSError:
                    continue
                _shut_down(side, socket.SHUT_RD)  # wakes its reader, who closes it, and tells the other side nothing

    def swallow(self, pattern: bytes, count: int, every: int = 1) -> None:
        """Lose `count` answers, one of `every` to requests with the pattern, and what follows on their connections."""
        with self._lock:
            self._pattern, self._to_swallow, self._every = pattern, count, every

    # ── the threads ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5.0)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(client, server, dead=self._forgetting)
            with self._lock:
                self._links.add(link)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(link, source, sink), daemon=True).start()

    def _forward(self, link: _Link, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._open.wait()
                if source is link.client:
                    self._choose(data, link)
                elif link.silent.is_set():
                    continue
                if not link.dead:
                    self._send(sink, data)
        except OSError:
            pass
        link.end()
        with self._lock:
            self._links.discard(link)

    def _send(self, sink: socket.socket, data: bytes) -> None:
        if self.delay_s:
            time.sleep(self.delay_s)
        while (piece := self.drip_bytes) and data:
            sink.sendall(data[:piece])
            data = data[piece:]
            time.sleep(0.001)
        sink.sendall(data)

    def _choose(self, data: bytes, link: _Link) -> None:
        with self._lock:
            if self._to_swallow == 0 or self._pattern not in data or link.silent.is_set():
                return
            self._matched += 1
            if self._matched % self._every == 0:
                self._to_swallow -= 1
                self.swallowed += 1
                link.silent.set()

    def _all(self) -> list[_Link]:
        with self._lock:
            return list(self._links)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        _shut_down(self._listener, socket.SHUT_RDWR)
        self._listener.close()
        self._open.set()
        self.cut()


def _shut_down(end: socket.socket, how: int) -> None:
    try:
        end.shutdown(how)
    except OSError:
        pass
