"""A newer program upgrades the store under a running worker."""

from __future__ import annotations

import re

import pytest

from celeriac.engines.sqlite import schema
from support.gate import Gate
from support.project import Client, Project
from support.waiting import until

_UPGRADE = """
from celeriac import Celery
from celeriac.engines.sqlite import schema
schema.VERSION, schema.upgrade = {version}, lambda number: {statements!r}
app = Celery("newer", broker="sqlite:///{store}")
with app.broker.database.read():
    pass
app.close()
"""
_NOT_FOR_US = "UPDATE counters SET value = 99 WHERE name = 'compatible_from'"


def _upgrade(project: Project, *statements: str) -> None:
    version = schema.VERSION + 1
    project.python(_UPGRADE.format(version=version, statements=list(statements), store=project.store))


def test_a_worker_goes_on_beside_a_newer_one(project: Project, client: Client, gate: Gate) -> None:
    project.with_common_tasks()
    with project.worker("-c", 1) as worker:
        result = client.send("hold", gate.port, "done")
        arrival = gate.arrival()
        _upgrade(project, "CREATE TABLE later (id INTEGER PRIMARY KEY)")
        arrival.open()
        assert result.get(timeout=30) == "done"
        assert client.run("add", 1, 2) == 3
        assert worker.stop() == 0
    assert "ERROR" not in worker.log
    assert "CRITICAL" not in worker.log


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "solo"])
def test_a_worker_that_is_too_old_ends_with_a_sentence_and_a_newer_one_does_its_work(
    project: Project, client: Client, gate: Gate, pool: str
) -> None:
    project.with_common_tasks()
    with project.worker("-c", 1, "-P", pool) as worker:
        running, waiting = client.send("hold", gate.port, "done"), client.send("add", 1, 2)
        arrival = gate.arrival()
        _upgrade(project, _NOT_FOR_US)
        worker.wait_for(
            r"CRITICAL/MainProcess\] This worker ends, .*: .*upgraded by a newer celeriac .*: upgrade celeriac"
        )
        arrival.open()
        worker.wait()
    assert len(re.findall("newer celeriac", worker.log)) <= 3, worker.log
    # This program plays the newer one: it is told that it may use the store.
    project.python(
        f"""
        import sqlite3
        connection = sqlite3.connect({str(project.store)!r})
        connection.execute("UPDATE counters SET value = 1 WHERE name = 'compatible_from'")
        connection.commit()
        connection.close()
        """
    )
    assert client.queue().leased <= 2
    with project.worker("-c", 1, "-P", pool) as newer:
        gate.arrival().open()
        assert running.get(timeout=30) == "done"
        assert waiting.get(timeout=30) == 3
        until(lambda: client.queue().leased == 0, "nothing is left")
        assert newer.stop() == 0
