"""Record the golden files: what the released Celery and kombu really write, for celeriac's tests to hold against.

Run `scripts/peers`, then `.peers/celery/bin/python tests/wire/record_golden.py`. Writes beside `golden/tasks.py`:

    json_values.json   what `kombu.utils.json` makes of Python values
    messages.json      what publishing puts on Redis lists
    results.json       what a worker leaves under `celery-task-meta-<id>`

Every case is Python text that is evaluated here, so what is written beside a recording is what was recorded. Names are
those of `VALUE_NAMES`, and the tasks of `golden/tasks.py`. What differs between two recordings (ids that nobody chose,
process ids, the host, the folder) is replaced in the recorded text; dates stand still by the app's clock. Two
recordings with the same versions are equal byte by byte.
"""

import contextlib
import datetime
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zoneinfo
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).resolve().parents[2]
LONGEST_WAIT_S = 20.0


class Point(NamedTuple):
    x: object
    y: object


class Money:
    """Offers kombu's `__json__` hook."""

    def __json__(self):
        return {"amount": "9.95", "currency": "CHF"}


VALUE_NAMES = {
    "datetime": datetime,
    "zoneinfo": zoneinfo,
    "Decimal": Decimal,
    "UUID": UUID,
    "Point": Point,
    "Money": Money,
    "nan": float("nan"),
    "inf": float("inf"),
}

ID = "UUID('12345678-1234-4678-9234-567812345678')"
UTC = "tzinfo=datetime.timezone.utc"
VALUES = {
    "none": "None",
    "true": "True",
    "int": "-42",
    "big int": str(2**70),
    "negative big int": str(-(2**70)),
    "int beyond 53 bits": str(2**53 + 1),
    "float": "0.1",
    "float without fraction": "1.0",
    "float large": "1e+22",
    "float small": "1e-07",
    "negative zero": "-0.0",
    "nan": "nan",
    "infinity": "inf",
    "negative infinity": "-inf",
    "text": "'plain'",
    "text empty": "''",
    "text non-ascii": "'Zürich – Ĝis!'",
    "text emoji": "'🥬 root'",
    "text escapes": r"""'quote " backslash \\ slash / newline \n tab \t return \r nul \x00 bell \x07 delete \x7f'""",
    "text line separators": r"'\u2028 and \u2029'",
    "text lone surrogate": r"'\ud800'",
    "list": "[1, 'two', 3.0, None]",
    "list empty": "[]",
    "dict": "{'a': 1, 'b': {'c': [True, False]}}",
    "dict empty": "{}",
    "dict int keys": "{1: 'one', 2: 'two'}",
    "dict bool, none and float keys": "{True: 1, None: 2, 1.5: 3}",
    "dict equal keys after encoding": "{1: 'int', '1': 'text'}",
    "dict order kept": "{'z': 1, 'a': 2}",
    "dict empty containers": "{'list': [], 'dict': {}, 'tuple': ()}",
    "tuple": "(1, (2, 3))",
    "tuple empty": "()",
    "namedtuple": "Point(x=1, y=2)",
    "datetime naive": "datetime.datetime(2026, 1, 2, 3, 4, 5)",
    "datetime microseconds": "datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)",
    "datetime utc": f"datetime.datetime(2026, 1, 2, 3, 4, 5, {UTC})",
    "datetime utc microseconds": f"datetime.datetime(2026, 1, 2, 3, 4, 5, 6, {UTC})",
    "datetime offset": (
        "datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone(datetime.timedelta(seconds=-12600)))"
    ),
    "datetime zone": "datetime.datetime(2026, 7, 2, 3, 4, 5, tzinfo=zoneinfo.ZoneInfo(key='Europe/Zurich'))",
    "datetime midnight": "datetime.datetime(2026, 1, 2, 0, 0)",
    "date": "datetime.date(2026, 1, 2)",
    "time": "datetime.time(3, 4, 5)",
    "time microseconds": "datetime.time(3, 4, 5, 678901)",
    "time utc": f"datetime.time(3, 4, {UTC})",
    "decimal": "Decimal('1.50')",
    "decimal exponent": "Decimal('1E+3')",
    "decimal nan": "Decimal('NaN')",
    "uuid": ID,
    "bytes empty": "b''",
    "bytes utf-8": "b'plain'",
    "bytes utf-8 non-ascii": r"b'Z\xc3\xbcrich'",
    "bytes not utf-8": r"b'\xff\x00\xfe'",
    "json hook": "Money()",
    "nested in list": f"[datetime.date(2026, 1, 2), [Decimal('1'), [{ID}]]]",
    "nested in dict": r"{'when': datetime.datetime(2026, 1, 2, 3, 4, 5), 'deep': {'raw': b'\xff', 'text': b'ok'}}",
    "nested in tuple": "(b'a', (datetime.time(1, 2), Point(x=Decimal('2'), y=None)))",
    "dict that looks tagged": "{'__type__': 'date', '__value__': '2026-01-02'}",
    "dict that looks tagged, with more": "{'__type__': 'date', '__value__': '2026-01-02', 'more': 1}",
}

# name, call; published to a Redis without a worker. The id is the case's own unless the call names one.
PUBLISHES = {
    "args": "tasks.add.apply_async((2, 3))",
    "kwargs": "tasks.add.apply_async(kwargs={'x': 2, 'y': 3})",
    "args and kwargs": "tasks.add.apply_async((2,), {'y': 3})",
    "no args": "tasks.parent.apply_async()",
    "non-ascii": "tasks.echo.apply_async(('Zürich 🥬',))",
    "long args": "tasks.echo.apply_async((list(range(400)),))",
    "tagged types": (
        "tasks.echo.apply_async(([datetime.datetime(2026, 1, 2, 3, 4, 5, 678901), datetime.date(2026, 1, 2), "
        f"datetime.time(3, 4), Decimal('1.50'), {ID}, b'text', b'\\xff'],))"
    ),
    "countdown": "tasks.add.apply_async((2, 3), countdown=60)",
    "eta aware": f"tasks.add.apply_async((2, 3), eta=datetime.datetime(2026, 3, 4, 5, 6, 7, {UTC}))",
    "eta naive": "tasks.add.apply_async((2, 3), eta=datetime.datetime(2026, 3, 4, 5, 6, 7))",
    "expires seconds": "tasks.add.apply_async((2, 3), expires=120)",
    "expires date": f"tasks.add.apply_async((2, 3), expires=datetime.datetime(2100, 3, 4, 5, 6, 7, {UTC}))",
    "ignore_result": "tasks.add.apply_async((2, 3), ignore_result=True)",
    "ignore_result by the task": "tasks.forgotten.apply_async()",
    "priority 3": "tasks.add.apply_async((2, 3), priority=3)",
    "priority 5": "tasks.add.apply_async((2, 3), priority=5)",
    "priority 9": "tasks.add.apply_async((2, 3), priority=9)",
    "headers": "tasks.add.apply_async((2, 3), headers={'x': 1})",
    "custom task_id": "tasks.add.apply_async((2, 3), task_id='order-4711')",
    "time limits": "tasks.add.apply_async((2, 3), time_limit=30, soft_time_limit=20)",
    "compression": "tasks.echo.apply_async(('a' * 200,), compression='zlib')",
    "queue": "tasks.add.apply_async((2, 3), queue='mail')",
    "shadow": "tasks.add.apply_async((2, 3), shadow='sum')",
    "link and link_error": "tasks.add.apply_async((2, 3), link=tasks.echo.s(), link_error=tasks.echo.si('failed'))",
    "send_task, name not registered": "tasks.app.send_task('elsewhere.job', (1,), {'k': 'v'})",
}

# name, call; run by a worker to the end.
FINISHED = {
    "SUCCESS int": "tasks.add.apply_async((2, 3))",
    "SUCCESS none": "tasks.echo.apply_async((None,))",
    "SUCCESS text": "tasks.echo.apply_async(('Zürich 🥬',))",
    "SUCCESS nested": "tasks.echo.apply_async(({'list': [1, 2.5, None], 'empty': {}},))",
    "SUCCESS tagged types": (
        f"tasks.echo.apply_async(([datetime.datetime(2026, 1, 2, 3, 4, 5, {UTC}), Decimal('1.50'), b'\\xff', {ID}],))"
    ),
    "SUCCESS with children": "tasks.parent.apply_async()",
    "SUCCESS with parent, root and group": (
        "tasks.add.apply_async((2, 3), root_id='root-1', parent_id='parent-1', group_id='group-1', group_index=0)"
    ),
    "FAILURE builtin exception": "tasks.fail.apply_async(('no such file',))",
    "FAILURE without arguments": "tasks.fail_without_arguments.apply_async()",
    "FAILURE custom exception": "tasks.sell.apply_async(('SKU-1',))",
    "FAILURE wrong arguments": "tasks.app.send_task('tasks.add', (1, 2, 3))",
    "FAILURE name not registered": "tasks.app.send_task('tasks.absent')",
    # The app's clock stands in the past, so this has expired when the worker sees it.
    "REVOKED expired": "tasks.add.apply_async((2, 3), expires=120)",
}

# name, call, state; looked at while the task waits at its gate.
WAITING = {
    "STARTED": ("tasks.started.apply_async()", "STARTED"),
    "custom state": ("tasks.report_progress.apply_async()", "PROGRESS"),
}
RETRY_CALL = "tasks.retry_after_gate.apply_async(('http://localhost/',))"

ID_PATTERN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def task_id(number):
    return f"00000000-0000-4000-8000-{number:012x}"


def stable(text):
    """The recorded text with what differs from one recording to the next replaced."""
    unchosen = dict.fromkeys(i for i in ID_PATTERN.findall(text) if not i.startswith("00000000-") and i not in ID)
    for number, found in enumerate(unchosen, start=1):
        text = text.replace(found, f"ffffffff-0000-4000-8000-{number:012x}")
    text = re.sub(r"gen\d+@[^\"\\]+", "gen4321@recorder", text)
    text = re.sub(r'"pid": \d+', '"pid": 4321', text)
    return text.replace(str(ROOT), "/project")


def until(condition, what):
    deadline = time.monotonic() + LONGEST_WAIT_S
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"gave up after {LONGEST_WAIT_S:.0f} s waiting for {what}")
        time.sleep(0.02)
    return found


@contextlib.contextmanager
def process(command, **options):
    """A child process that ends with the block."""
    child = subprocess.Popen(command, **options)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def private_redis():
    """An empty Redis on a free port of the loopback device; gives its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is missing: run scripts/peers")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with process(command, stdout=subprocess.DEVNULL):
            yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def worker(**environment):
    """A real worker over `golden/tasks.py`."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "celery",
        "-A",
        "tasks",
        "worker",
        "-c",
        "1",
        "-n",
        "celery@recorder",
    ]
    command += ["--loglevel=critical", "--without-gossip", "--without-mingle"]
    with process(command, cwd=GOLDEN, env=os.environ | environment, stdout=subprocess.DEVNULL):
        yield


class Recorder:
    """Evaluates calls and reads what they left in Redis."""

    def __init__(self, store, tasks):
        self.store = store
        self.tasks = tasks
        self.names = VALUE_NAMES | {"tasks": tasks}
        self.given = 0

    def call(self, text):
        """Evaluate a call, with an id of ours unless it names its own."""
        self.given += 1
        if "task_id=" not in text:
            text = f"{text[:-1]}{'' if text.endswith('()') else ', '}task_id={task_id(self.given)!r})"
        return eval(text, self.names)

    def lists(self):
        """Every message on every queue list: key -> envelope texts."""
        keys = (key for key in self.store.scan_iter() if self.store.type(key) == "list")
        return {key: self.store.lrange(key, 0, -1) for key in keys}

    def popping(self):
        """Whether any client waits in a blocking pop."""
        return any("b" in client["flags"] for client in self.store.client_list())

    def publish(self, name, text):
        self.store.flushdb()
        self.call(text)
        [(key, [raw])] = self.lists().items()
        return {"name": name, "call": text, "key": key, "raw": stable(raw)}

    def result(self, name, text, wanted, found=None):
        found = found or self.call(text)
        until(lambda: found.state in wanted, f"{name}: {' or '.join(wanted)}, but {found.id} is {found.state}")
        key = f"celery-task-meta-{found.id}"
        return {"name": name, "call": text, "key": key, "raw": stable(self.store.get(key))}

    def unkept_result(self, name, text):
        """A task whose result is not kept; one after it shows that the only child is through with it."""
        unkept = self.call(text)
        self.call("tasks.add.apply_async((0, 0))").get(timeout=LONGEST_WAIT_S)
        key = f"celery-task-meta-{unkept.id}"
        return {"name": name, "call": text, "key": key, "raw": self.store.get(key)}

    def waiting_result(self, name, text, wanted):
        """What is stored while the task waits at its gate."""
        found = self.call(text)
        recorded = self.result(name, text, (wanted,), found)
        self.open_gate(found)
        return recorded

    def open_gate(self, found):
        self.store.set(self.tasks.GATE + found.id, 1)

    def retry(self):
        """The message that a worker's own `self.retry` publishes, and the result that it leaves.

        The worker is told to consume no more while the task waits at its gate, so the message stays on the list.
        """
        found = self.call(RETRY_CALL)
        until(lambda: not self.store.hlen("unacked") and not self.lists(), "the task to start")
        if not self.tasks.app.control.cancel_consumer("celery", reply=True, timeout=3.0):
            raise SystemExit("the worker did not answer cancel_consumer")
        # The pop that was under way would still take the message, and give it back marked as redelivered.
        until(lambda: not self.popping(), "the worker's last pop to end")
        self.open_gate(found)
        [(key, [raw])] = until(self.lists, "the retried message").items()
        call = f"{RETRY_CALL}, published again by self.retry(exc=error, countdown=30)"
        message = {"name": "retry", "call": call, "key": key, "raw": stable(raw)}
        return message, self.result("RETRY", RETRY_CALL, ("RETRY",), found)


def record_values():
    from kombu.utils.json import dumps, loads

    cases = []
    for name, text in VALUES.items():
        encoded = dumps(eval(text, VALUE_NAMES))
        cases.append({"name": name, "python": text, "encoded": encoded, "decoded": repr(loads(encoded))})
    return cases


def record_results(recorder):
    """The results, and the retried message, which needs a worker too."""
    ready = ("SUCCESS", "FAILURE", "REVOKED")
    results = []
    with worker():
        results += [recorder.result(name, text, ready) for name, text in FINISHED.items()]
        results.append(recorder.unkept_result("ignore_result by the task", "tasks.forgotten.apply_async()"))
        call = "tasks.add.apply_async((2, 3), ignore_result=True)"
        results.append(recorder.unkept_result("ignore_result by the call", call))
        for name, (text, state) in WAITING.items():
            results.append(recorder.waiting_result(name, text, state))
        message, result = recorder.retry()
        results.append(result)
    recorder.store.flushdb()
    with worker(GOLDEN_EXTENDED="1"):
        for name in ("SUCCESS int", "FAILURE builtin exception"):
            results.append(recorder.result(f"{name}, result_extended", FINISHED[name], ready))
    return results, message


def write(file_name, cases):
    (GOLDEN / file_name).write_text(json.dumps(cases, indent=1, ensure_ascii=True) + "\n", encoding="ascii")
    print(f"{file_name}: {len(cases)} cases")


def main():
    print(f"recording with Celery {version('celery')}, kombu {version('kombu')}, Python {sys.version.split()[0]}")
    write("json_values.json", record_values())
    with private_redis() as url:
        import redis

        store = redis.Redis.from_url(url, decode_responses=True)
        until(lambda: answers(store), "Redis to start")
        os.environ["GOLDEN_REDIS"] = url
        sys.path.insert(0, str(GOLDEN))
        import tasks

        recorder = Recorder(store, tasks)
        messages = [recorder.publish(name, text) for name, text in PUBLISHES.items()]
        store.flushdb()
        results, retried = record_results(recorder)
    write("messages.json", [*messages, retried])
    write("results.json", results)


def answers(store):
    import redis

    try:
        return store.ping()
    except redis.ConnectionError:
        return False


if __name__ == "__main__":
    main()
