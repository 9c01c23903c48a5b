"""What tests have other processes do at their brokers (`Peer.run`)."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator

from celeriac.engines import open_broker
from celeriac.engines.base import Broker, EngineOptions, Owner, Receipt, Record
from celeriac.engines.sqlite import SQLiteBroker, schema
from conformance.making import Producer, claim, ids, outgoing
from conformance.peer import Peer

__all__ = [
    "claim_for_ever",
    "die_in_an_upgrade",
    "make_stores_at_once",
    "publish_across_a_fork",
    "publish_as_another_user",
    "publish_for_ever",
    "upgrade_to",
    "watch_across_a_fork",
    "watch_timed",
]


def make_stores_at_once(broker: Broker, folder: str, name: str, began: float, count: int) -> None:
    """Open stores that are not there yet, each at a moment that others keep too, and publish into them."""
    for number in range(count):
        time.sleep(max(0.0, began + number * 0.02 - time.time()))
        store = open_broker(f"sqlite:///many-{number}.db", EngineOptions(folder, timeout_s=30.0))
        store.publish([outgoing(name)], Receipt(name, 1))
        store.close()


def publish_for_ever(broker: Broker, name: str, log: str) -> None:
    """Publish batches of three; write down each that was acknowledged."""
    with open(log, "ab", buffering=0) as acknowledged:
        number = 0
        while True:
            number += 1
            batch = [outgoing(f"{name}-{number}-{part}", body=b"x" * 2000) for part in "abc"]
            broker.publish(batch, Receipt(name, number))
            acknowledged.write(f"{number}\n".encode())


def claim_for_ever(broker: Broker, owner: Owner) -> None:
    """Claim one by one and settle nothing."""
    while True:
        claim(broker, limit=1, owner=owner)


def publish_across_a_fork(broker: Broker, url: str, folder: str) -> tuple[str, list[str | None]]:
    """Publish, fork, and publish in the child before and after the parent let go of the store and a third process used it.

    What the child met, and what lies in the queue at the end.
    """
    producer = Producer(broker)
    producer.send("before")
    told, tell = os.pipe()
    go, may_go = os.pipe()

    def in_child() -> str:
        own = Producer(broker)
        own.send("child-1")
        os.write(tell, b"!")
        os.read(go, 1)
        own.send("child-2")
        return "fine"

    child, answer = _fork(in_child, tell)
    os.read(told, 1)
    producer.send("parent")
    broker.close()
    with Peer(url, folder) as third:
        Producer(third.broker).send("third")
    os.write(may_go, b"!")
    met = _join(child, answer)
    return met, ids(broker.peek("q", 100))


def watch_across_a_fork(broker: Broker) -> bool:
    """Whether parent and child both still hear of their own results when the parent watched before the fork."""
    results = broker.result_store()
    heard = threading.Event()
    with results.watch("parent", heard.set):

        def in_child() -> str:
            own = threading.Event()
            with results.watch("child", own.set):
                results.store([Record("child", b"{}")])
                return "fine" if own.wait(30) else "heard nothing"

        met = _join(*_fork(in_child))
        results.store([Record("parent", b"{}")])
        return met == "fine" and heard.wait(30)


def watch_timed(broker: Broker, task_id: str, timeout_s: float) -> float:
    """How long it took until something was heard of a result."""
    heard = threading.Event()
    began = time.monotonic()
    with broker.result_store().watch(task_id, heard.set):
        heard.wait(timeout_s)
    return time.monotonic() - began


def publish_as_another_user(broker: Broker, folder: str) -> None:
    """Publish as nobody, through a broker of his own."""
    os.setresuid(65534, 65534, 0)
    try:
        store = open_broker("sqlite:///store.db", EngineOptions(folder, timeout_s=10.0))
        store.publish([outgoing("nobody")], Receipt("nobody", 1))
    finally:
        os.setresuid(0, 0, 0)


def upgrade_to(broker: SQLiteBroker, version: int, statements: list[str]) -> None:
    """Be a program of a newer version, and open the store."""
    schema.VERSION, schema.upgrade = version, lambda number: statements
    broker.close()
    with broker.database.read():
        pass


def die_in_an_upgrade(broker: SQLiteBroker, statements: list[str]) -> None:
    """As `upgrade_to`, but killed in the middle of it."""

    def upgrade(number: int) -> Iterator[str]:
        yield from statements
        os.kill(os.getpid(), signal.SIGKILL)

    schema.VERSION, schema.upgrade = schema.VERSION + 1, upgrade  # type: ignore[assignment]
    broker.close()
    broker.queues()


def _fork(work: Callable[[], str], announce: int | None = None) -> tuple[int, int]:
    answer, give = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            met = work()
        except Exception as error:
            met = type(error).__name__
        os.write(give, pickle.dumps(met))
        if announce is not None:
            os.write(announce, b"!")
        os._exit(0)
    os.close(give)
    return pid, answer


def _join(pid: int, answer: int) -> str:
    os.waitpid(pid, 0)
    with os.fdopen(answer, "rb") as pipe:
        return str(pickle.loads(pipe.read()))
