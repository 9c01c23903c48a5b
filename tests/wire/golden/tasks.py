"""The tasks that the golden files were recorded with, as a released Celery ran them.

The app's clock stands still, so that dates in the recorded texts do not change from one recording to the next.
"""

import os
import time
from datetime import datetime, timezone

import redis
from celery import Celery

CLOCK = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
GATE = "recorder:open:"
LONGEST_WAIT_S = 20.0


class StandingClock(Celery):
    """Celery, but for its clock."""

    def now(self):
        return CLOCK


app = StandingClock("tasks", broker=os.environ["GOLDEN_REDIS"], backend=os.environ["GOLDEN_REDIS"])
app.conf.result_extended = os.environ.get("GOLDEN_EXTENDED") == "1"


class OutOfStock(Exception):
    """An exception of the application's own, with arguments."""

    def __init__(self, sku, left):
        super().__init__(sku, left)


def wait_for_gate():
    """Hold the running task where it is until the recorder has looked."""
    gate = GATE + app.current_task.request.id
    store = redis.Redis.from_url(os.environ["GOLDEN_REDIS"])
    deadline = time.monotonic() + LONGEST_WAIT_S
    while not store.exists(gate):
        if time.monotonic() > deadline:
            raise RuntimeError("the recorder never opened the gate")
        time.sleep(0.01)


@app.task
def add(x, y):
    return x + y


@app.task
def echo(value):
    return value


@app.task
def fail(message):
    raise ValueError(message)


@app.task
def fail_without_arguments():
    raise KeyError


@app.task
def sell(sku):
    raise OutOfStock(sku, 3)


@app.task
def parent():
    add.apply_async((1, 1), task_id="00000000-0000-4000-8000-00000000c001", countdown=1)
    return "published"


@app.task(bind=True, max_retries=5)
def retry_after_gate(self, url):
    wait_for_gate()
    try:
        raise ConnectionError(url)
    except ConnectionError as error:
        raise self.retry(exc=error, countdown=30)


@app.task(bind=True)
def report_progress(self):
    self.update_state(state="PROGRESS", meta={"done": 3, "of": 10})
    wait_for_gate()


@app.task(track_started=True)
def started():
    wait_for_gate()


@app.task(ignore_result=True)
def forgotten():
    return "nobody asks"
