"""The tasks of a mixed fleet: one module that Celery and celeriac both run, as a project does that moves over.

FLEET_SIDE says by whom it is imported, and FLEET_BROKER, FLEET_BACKEND and FLEET_SETTINGS where its Redis is and how.
"""

import json
import os
import socket
import time

SIDE = os.environ["FLEET_SIDE"]
if SIDE == "celery":
    from celery import Celery
else:
    from celeriac import Celery

app = Celery("fleet_tasks", broker=os.environ["FLEET_BROKER"], backend=os.environ["FLEET_BACKEND"])
app.conf.update(json.loads(os.environ["FLEET_SETTINGS"]))


class OutOfStock(Exception):
    """An error of the project's own, which both sides have."""

    def __init__(self, sku, left):
        super().__init__(sku, left)


def at_gate(port, word=""):
    """Tell the test that we run, and wait until it lets us go on (support/gate.py)."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{os.getpid()} {word}\n".encode())
        connection.recv(1)


def note(*words):
    """One line in the test's own file, whole whatever happens to the process."""
    file = os.open(os.environ["FLEET_AUDIT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, " ".join(map(str, words)).encode() + b"\n")
    os.close(file)


@app.task
def add(x, y=10):
    return x + y


@app.task
def echo(value):
    return value


@app.task
def look_at(*args, **kwargs):
    """What the worker sees of its arguments."""
    return SIDE, repr(args), repr(kwargs)


@app.task
def moment():
    return time.time()


@app.task
def mark(word):
    note(word, SIDE)


@app.task
def count(number):
    note(number, SIDE)
    time.sleep(0.005)
    return number


@app.task(ignore_result=True)
def forgotten():
    return "nobody asks"


@app.task(bind=True)
def hold(self, port):
    """By whom it is run, and whether that one was told that somebody else had taken it before."""
    at_gate(port)
    return [SIDE, self.request.delivery_info["redelivered"]]


@app.task(track_started=True)
def started(port):
    at_gate(port)


@app.task(bind=True)
def report_progress(self, port):
    self.update_state(state="PROGRESS", meta={"done": 3, "of": 10})
    at_gate(port)
    return "done"


@app.task(bind=True, max_retries=2)
def flaky(self, failures, countdown):
    try:
        if self.request.retries < failures:
            raise OutOfStock("SKU-1", self.request.retries)
    except OutOfStock as error:
        raise self.retry(exc=error, countdown=countdown) from None
    return self.request.retries


@app.task(bind=True)
def hop(self, queues, seen):
    """Runs on one queue after the other, by retrying there."""
    seen = [*seen, [SIDE, self.request.retries]]
    if queues:
        raise self.retry(args=(queues[1:], seen), queue=queues[0], countdown=0, max_retries=10)
    return seen


@app.task
def fail(kind):
    if kind == "builtin":
        raise FileNotFoundError(2, "no such file", "Zürich.txt")
    if kind == "bare":
        raise KeyError
    if kind == "own":
        raise OutOfStock("SKU-1", 3)
    import surprise  # only where the task runs; who asks for the result does not have it

    raise surprise.Surprise("nobody", "expected", 2**70)


@app.task
def fail_in_celeriac():
    if SIDE == "celeriac":
        raise OutOfStock("SKU-1", 0)
    return SIDE


@app.task(bind=True)
def lineage(self):
    return [self.request.id, self.request.root_id, self.request.parent_id]


@app.task(bind=True)
def call_others(self, queue):
    """Calls one task on a queue, which may be the other side's, and one here."""
    there = lineage.apply_async(queue=queue)
    here = lineage.apply_async(queue=self.request.delivery_info["routing_key"])
    return [there.id, here.id]
