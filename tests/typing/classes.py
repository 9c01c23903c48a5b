"""What type checkers make of task classes, handlers, signals and the application. Checked, not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_type

from celeriac import AsyncResult, Celery, Task, bugreport, current_app, uuid
from celeriac.exceptions import Ignore, Reject, Retry
from celeriac.signals import task_prerun

app = Celery("shop", broker="sqlite://", backend="redis://", task_acks_late=False)


class Told(Task[..., Any]):
    """A base with a handler and a property of its own."""

    abstract = True

    @property
    def database(self) -> dict[str, int]:
        return {}

    def on_success(self, retval: Any, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        assert_type(self.request.called_directly, bool)


@app.task(base=Told)
def count(word: str) -> int:
    return len(word)


@app.task(base=Told, bind=True)
def look_up(self: Told, word: str) -> int:
    return self.database[word]


class Import(Task[[str], int]):
    """A class task."""

    name = "shop.import"

    def run(self, path: str) -> int:
        return len(path)


imported = app.register_task(Import())


def calling() -> None:
    assert_type(count.delay("word").get(), int)
    assert_type(look_up.delay("word").get(), int)
    assert_type(Import().delay("path"), AsyncResult[int])
    assert_type(imported.delay("path"), AsyncResult[Any])
    assert_type(app.tasks["shop.import"].name, str)


@app.task(bind=True, throws=(KeyError,))
def ending(self: Task, how: str) -> None:
    match how:
        case "ignore":
            raise Ignore
        case "reject":
            raise Reject("no", requeue=False)
        case "retry":
            raise Retry(when=3)
        case _:
            assert_type(self.retry(throw=False), Retry)


@task_prerun.connect
def note(sender: Any, task_id: str, **more: Any) -> None: ...


@app.on_after_configure.connect
def configured(sender: Celery, **more: Any) -> None:
    sender.conf.update(task_track_started=True)


def values() -> None:
    assert_type(uuid(), str)
    assert_type(bugreport(app), str)
    assert_type(app.now().year, int)
    current_app.send_task("shop.add")
