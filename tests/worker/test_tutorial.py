"""The program of every Celery tutorial, as it is written there, in two terminals."""

from __future__ import annotations

from pathlib import Path

from support.project import Project

_CELERY_APP = """
from celeriac import Celery

app = Celery('tasks')
app.conf.update(task_serializer='json', accept_content=['json'], result_serializer='json', timezone='UTC', enable_utc=True)
"""

_TASKS = """
from celery_app import app
import time

@app.task
def add(x, y):
    print(f"Adding {x} + {y}...")
    time.sleep(5)
    return x + y
"""

_CALLER = """
from tasks import add
r = add.delay(4, 4)
print(r.id)
print(r.state)
print(r.get(timeout=60) == 8)
print(r.state)
"""


def test_the_tutorials_program_runs_as_written(project: Project, tmp_path: Path) -> None:
    project.write("celery_app", _CELERY_APP).write("tasks", _TASKS)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with project.worker() as worker:
        worker.wait_until_ready()
        # Started in another folder, the caller still finds the same store.
        task_id, before, right, after = project.python(_CALLER, folder=elsewhere).stdout.split()
        assert (before, right, after) == ("PENDING", "True", "SUCCESS")
        worker.wait_for(rf"Task tasks\.add\[{task_id}\] received$")
        worker.wait_for(r"Adding 4 \+ 4\.\.\.$")
        worker.wait_for(rf"Task tasks\.add\[{task_id}\] succeeded in 5\.\d+s: 8$")
        assert worker.stop() == 0
    assert not list(elsewhere.iterdir())
    assert project.store.exists()


def test_a_call_made_before_any_worker_runs_is_not_lost(project: Project) -> None:
    project.write("celery_app", _CELERY_APP).write("tasks", _TASKS.replace("sleep(5)", "sleep(0)"))
    task_id = project.python("from tasks import add; print(add.delay(4, 4).id)").stdout.strip()
    with project.worker():
        reading = f"from tasks import app; print(app.AsyncResult({task_id!r}).get(timeout=30))"
        assert project.python(reading).stdout.strip() == "8"
