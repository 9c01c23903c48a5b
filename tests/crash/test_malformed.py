"""Messages that cannot be read, in front of real workers.

Good tasks are done, bad ones kept, nothing is unpickled or imported. Mutated messages come for 3 s in `make test`, for 60 s
in `make crash` and for CELERIAC_FUZZ_S seconds where that is set; CELERIAC_SEED repeats those of an earlier run.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from celeriac import Celery, states
from celeriac.engines.base import Record
from celeriac.exceptions import RemoteError
from support.malformed import KINDS, WITHOUT_ID, Mutator, put_raw
from support.processes import needs_proc
from support.project import Project
from support.redis_server import RedisServer
from support.waiting import until
from support.worker import WorkerProcess

Figure = Callable[[str], None]

#: How long mutated messages keep coming, on each engine.
_FUZZ_S = float(os.environ.get("CELERIAC_FUZZ_S", "60" if os.environ.get("CELERIAC_CRASH") == "long" else "3"))
_TIMES = 10
_QUEUE = "inbox"

_TASKS = """
import asyncio
import os
from celeriac import Celery, signals

app = Celery("tasks", broker=os.environ["BROKER"])
app.conf.unknown_task_wait = 0
app.conf.dead_letter_max_size = 10_000_000


def note(word, **_):
    file = os.open("ended", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, word.encode() + b"\\n")
    os.close(file)


@signals.task_success.connect(weak=False)
def succeeded(**_):
    note("succeeded")


@signals.task_revoked.connect(weak=False)
def expired(**_):
    note("expired")


@app.task(typing=False)
def echo(*args, **kwargs):
    return [args, kwargs]


@app.task
async def nap(value=None):
    await asyncio.sleep(0)
    return value


@app.task(bind=True, autoretry_for=(KeyError,), max_retries=2, retry_backoff=True, default_retry_delay=0)
def flaky(self, value=None):
    if self.request.retries < 2:
        raise self.retry(countdown=0, exc=KeyError(value))
    return value


@app.task
def double(number):
    return 2 * number
"""

#: Whoever imports it makes a folder.
_SURPRISE = """
import os
os.mkdir("imported")
def run(*_): os.mkdir("run")
"""

pytestmark = needs_proc


class Site:
    """A project whose worker can be sent anything."""

    def __init__(self, project: Project, url: str) -> None:
        self.project = project.write("tasks", _TASKS).write("surprise", _SURPRISE)
        self.url = url
        self.app = Celery("tasks", broker=url)
        self.double = self.app.task(name="tasks.double", typing=False)(print)

    def put(self, *raws: bytes) -> None:
        put_raw(self.app.broker, _QUEUE, raws)

    @contextmanager
    def worker(self, pool: str = "prefork") -> Iterator[WorkerProcess]:
        with self.project.worker("-P", pool, "-c", 2, "-Q", _QUEUE, BROKER=self.url) as worker:
            yield worker.wait_until_ready()
            assert worker.stop(timeout_s=60) == 0

    def waits(self) -> int:
        """How many messages have not come to an end, and will now."""
        return sum(queue.ready + queue.leased for queue in self.app.broker.queues() if queue.name == _QUEUE)

    def dead(self) -> Counter[bytes]:
        return Counter(letter.raw for letter in self.app.broker.dead(limit=1_000_000))

    def ended(self) -> Counter[str]:
        """How many runs ended well, and how many messages were found expired."""
        file = self.project.folder / "ended"
        return Counter(file.read_text().split() if file.exists() else ())

    def found(self) -> list[str]:
        """What stands in the project's folder because something was run that came over the wire."""
        names = [path.name for path in self.project.folder.iterdir()]
        return [name for name in names if name.startswith(("unpickled", "imported", "run"))]


@pytest.fixture(params=["sqlite", "redis"])
def site(request: pytest.FixtureRequest, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if request.param == "sqlite":
        site = Site(project, f"sqlite:///{project.folder / 'store.db'}")
        yield site
        site.app.close()
        return
    folder: Path = tmp_path_factory.mktemp("redis")
    with RedisServer(folder) as server:
        site = Site(project, server.url())
        yield site
        site.app.close()


def test_every_bad_message_is_kept_as_it_was_and_every_good_one_is_done(site: Site, figure: Figure) -> None:
    bad = {f"{kind}-{number}": make(f"{kind}-{number}") for kind, make in KINDS.items() for number in range(_TIMES)}
    good = []
    for number, raw in enumerate(bad.values()):
        site.put(raw)
        good.append(site.double.apply_async((number,), queue=_QUEUE))
    with site.worker() as worker:
        assert [result.get(timeout=90) for result in good] == [2 * number for number in range(len(bad))]
        until(lambda: site.waits() == 0, "nothing is left")
        assert len(worker.children()) == 2
    assert " ended with " not in worker.log
    assert "Traceback" not in worker.log
    assert site.dead() == Counter(bad.values())
    assert all(letter.reason for letter in site.app.broker.dead(limit=10_000))
    readable = [name for name in bad if name.rpartition("-")[0] not in WITHOUT_ID]
    assert {name: site.app.AsyncResult(name).state for name in readable} == dict.fromkeys(readable, states.FAILURE)
    assert site.found() == []
    figure(f"{len(bad)} bad messages of {len(KINDS)} kinds among {len(good)} good ones: all kept, all done")


@pytest.mark.parametrize(("module", "name"), [("os", "system"), ("surprise", "run"), ("surprise.deeper", "Error")])
def test_a_stored_failure_calls_no_function_and_imports_no_module(
    site: Site, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    monkeypatch.chdir(site.project.folder)
    monkeypatch.syspath_prepend(str(site.project.folder))
    error = {"exc_type": name, "exc_module": module, "exc_message": ["mkdir run"]}
    document = {"task_id": "id-1", "status": "FAILURE", "result": error, "traceback": None, "children": []}
    site.app.results.store([Record("id-1", json.dumps(document).encode())])
    with pytest.raises(RemoteError, match="mkdir run"):
        site.app.AsyncResult("id-1").get(timeout=30)
    assert site.found() == []
    assert "surprise" not in sys.modules


@pytest.mark.timeout(int(_FUZZ_S) + 240)
def test_mutated_messages_are_run_or_kept_and_none_is_lost(site: Site, figure: Figure) -> None:
    seed = int(os.environ.get("CELERIAC_SEED", random.randrange(1_000_000)))
    pool = random.Random(seed).choice(["prefork", "threads", "asyncio"])
    print(f"CELERIAC_SEED={seed}, pool {pool}")
    mutator = Mutator(seed)
    sent = Counter[bytes]()
    good = 0
    with site.worker(pool) as worker:
        children = worker.child_pids(2 if pool == "prefork" else 1)
        ends = time.monotonic() + _FUZZ_S
        while time.monotonic() < ends:
            batch = [mutator.next() for _ in range(100)]
            sent.update(batch)
            site.put(*batch)
            results = [site.double.apply_async((number,), queue=_QUEUE) for number in range(10)]
            good += len(results)
            assert [result.get(timeout=90) for result in results] == [2 * number for number in range(10)]
            until(lambda: site.waits() == 0, "every message has ended", timeout_s=90)
            assert worker.children() == children, f"seed {seed}: a process died"
        (delayed,) = [queue.delayed for queue in site.app.broker.queues() if queue.name == _QUEUE] or [0]
        ended = site.ended()
    assert not re.search(" ended with |A slot of this worker", worker.log)
    # Neither does looking at them break anything.
    listed = site.project.celeriac("-A", "tasks", "dead", "list", "--limit", 10_000, BROKER=site.url)
    assert (listed.returncode, listed.stderr) == (0, "")
    dead = site.dead()
    changed = dead - sent
    # What is kept is what came, byte for byte: but for a run that asked for a retry, whose message counts its tries.
    assert all(b'"tasks.flaky"' in raw for raw in changed), f"seed {seed}: {changed}"
    told = f"seed {seed}: {sent.total()} sent, {dead.total()} dead, {delayed} delayed, {dict(ended)}, {good} good"
    assert sent.total() == dead.total() + delayed + ended.total() - good, told
    assert site.found() == []
    figure(told)
