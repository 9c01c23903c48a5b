"""`celeriac handback`: for a project that moves back to Celery."""

from __future__ import annotations

from pathlib import Path

from celeriac import Celery
from celeriac.engines.base import Bury, Claim, Commit, Node, Owner
from support.project import Project
from support.redis_server import RedisServer


def test_the_embedded_store_has_nothing_for_celery(project: Project) -> None:
    project.with_common_tasks()
    said = project.celeriac("-A", "tasks", "handback")
    assert said.returncode == 1
    assert "is celeriac's alone" in said.stderr


def test_dead_letters_go_back_unless_they_are_kept(project: Project, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        project.write("tasks", f"from celeriac import Celery\napp = Celery(broker={server.url()!r})\n")
        app = Celery(broker=server.url())
        app.task(name="tasks.any", typing=False)(print).delay()
        app.broker.register(Node("gone", "w@h", "h", 1, "solo", 1, ("celery",)))
        (lease,) = app.broker.exchange(Owner("gone"), [], Claim(("celery",), 1)).leases
        app.broker.exchange(Owner("gone"), [Commit(lease.token, Bury("bad"))])
        app.broker.unregister("gone")
        assert project.celeriac("-A", "tasks", "handback", "--keep-dead").stdout.startswith("Gave 0 messages back")
        assert len(app.broker.dead()) == 1
        assert project.celeriac("-A", "tasks", "handback").stdout.startswith("Gave 1 message back")
        assert app.broker.dead() == []
        app.close()
