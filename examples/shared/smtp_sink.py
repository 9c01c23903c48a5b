"""A mail server that delivers to nobody and counts instead, and that refuses now and then, as real ones do."""

import socketserver
import threading
import time
from collections import Counter
from random import Random
from typing import Self

from examples.shared.smtp_session import SmtpSession

__all__ = ["SmtpSink"]

REFUSED_SHARE = 1 / 8
# A mailbox that is full refuses a mail so often.
FULL_TIMES = 4
# A real server looks a mail over before it answers.
LOOK_OVER_S = 0.04
SILENCE_S = 30.0


class SmtpSink:
    """Listens on a free port of this machine from `with` to the end of the block.

    `delivered` counts the mails taken over per recipient, `refused` those sent away. What is refused depends on the
    seed, the recipient and how often that mail was tried, not on the order in which workers come: the same seed gives
    the same refusals in every run. `full_share` of the mailboxes are full, and refuse each mail the first four times.
    """

    def __init__(self, seed: str, full_share: float = 0.0) -> None:
        self.delivered: Counter[str] = Counter()
        self.refused = 0
        self._seed = seed
        self._full_share = full_share
        self._tried: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="smtp-sink", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def decide(self, sender: str, recipients: list[str], _message: bytes) -> str:
        time.sleep(LOOK_OVER_S)
        with self._lock:
            envelope = " ".join(recipients)
            self._tried[sender, envelope] += 1
            tried = self._tried[sender, envelope]
            if tried <= FULL_TIMES and Random(f"{self._seed} {envelope} full").random() < self._full_share:
                self.refused += 1
                return "452 4.2.2 mailbox full"
            if Random(f"{self._seed} {envelope} {tried}").random() < REFUSED_SHARE:
                self.refused += 1
                return "451 4.3.2 try again later"
            self.delivered.update(recipients)
            return "250 2.0.0 taken"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    # A client that says nothing must not hold up the end of the demo.
    block_on_close = False
    request_queue_size = 64

    def __init__(self, sink: SmtpSink) -> None:
        self.sink = sink
        super().__init__(("127.0.0.1", 0), _Conversation)


class _Conversation(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        session = SmtpSession(self.server.sink.decide)
        self.request.settimeout(SILENCE_S)
        try:
            self.request.sendall(session.greeting)
            while not session.closed and (data := self.request.recv(65536)):
                self.request.sendall(session.receive(data))
        except OSError:
            # The client went away or fell silent. What it had not finished does not count, and it will come again.
            pass
