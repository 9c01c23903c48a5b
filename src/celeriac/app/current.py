"""The application and the task that code without either at hand means: `current_app`, `current_task`, `shared_task`.

The current application is the one that was last made (or made current) in this thread, else the one that was first made in
this process, else a new one, whose store lies in the working directory. In a running task it is the task's.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from celeriac.request import current_run, running
from celeriac.typevars import P, R

if TYPE_CHECKING:
    from celeriac.app.application import Celery
    from celeriac.task import Task
    from celeriac.task.decorating import CoroutineTask, MakesBoundTask, MakesTask

__all__ = [
    "Proxy",
    "current_app",
    "current_task",
    "get_current_app",
    "set_current_app",
    "set_default_app",
    "shared_task",
]

_here = threading.local()
_default: Celery | None = None
_making = threading.Lock()
_apps: weakref.WeakSet[Celery] = weakref.WeakSet()
#: What makes a shared task for an application; applications to come get them too.
_shared: list[Callable[[Celery], Any]] = []


class Proxy:
    """Stands for an object that is looked up each time it is used."""

    __slots__ = ("__weakref__", "_find")

    def __init__(self, find: Callable[[], Any]) -> None:
        object.__setattr__(self, "_find", find)

    def _get_current_object(self) -> Any:
        return self._find()

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._find())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._find(), name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._find()(*args, **kwargs)

    def __bool__(self) -> bool:
        return bool(self._find())

    def __eq__(self, other: object) -> bool:
        return bool(self._find() == other)

    def __hash__(self) -> int:
        return hash(self._find())

    def __repr__(self) -> str:
        return repr(self._find())

    def __dir__(self) -> list[str]:
        return dir(self._find())

    def __reduce__(self) -> Any:
        return self._find().__reduce__()


def get_current_app() -> Celery:
    """The current application; see above."""
    run = running()
    if run is not None:
        return run.task.app
    app = getattr(_here, "app", None) or _default
    if app is None:
        from celeriac.app.application import Celery

        with _making:
            if _default is None:
                set_default_app(Celery("default", set_as_current=False))
            app = _default
    return cast("Celery", app)


def set_current_app(app: Celery) -> None:
    """Make it the current one of this thread, and of threads that have none if it is the first."""
    _here.app = app
    if _default is None:
        set_default_app(app)


def set_default_app(app: Celery) -> None:
    """Make it the current one of all threads that have none of their own."""
    global _default
    _default = app


def note_app(app: Celery) -> None:
    """An application has been made."""
    _apps.add(app)


def shared_tasks() -> list[Callable[[Celery], Any]]:
    """What makes the shared tasks, for an application that is being finalized."""
    return list(_shared)


@overload
def shared_task(function: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...


@overload
def shared_task(function: Callable[P, R], /) -> Task[P, R]: ...


@overload
def shared_task(
    *, bind: Literal[True], name: str | None = None, base: Any = None, **options: Any
) -> MakesBoundTask: ...


@overload
def shared_task(
    *, bind: Literal[False] = False, name: str | None = None, base: Any = None, **options: Any
) -> MakesTask: ...


def shared_task(*args: Any, **options: Any) -> Any:
    """Make a function a task of every application, those to come included: for modules that have no application.

    Takes what `app.task` takes. Used, it is the task of the current application.
    """

    def share(function: Callable[..., Any]) -> Any:
        name: str | None = options.get("name")

        def make(app: Celery) -> Any:
            return app.task_from(function, **options)

        _shared.append(make)
        for app in list(_apps):
            if app.finalized:
                make(app)

        def find() -> Any:
            app = get_current_app()
            task_name = name or app.gen_task_name(function.__name__, function.__module__)
            found = app.tasks.get(task_name)
            return make(app) if found is None else found

        return Proxy(find)

    if len(args) == 1 and callable(args[0]):
        return share(args[0])
    if args:
        raise TypeError("@shared_task takes options by name: @shared_task(bind=True)")
    return share


def _find_task() -> Task[..., Any] | None:
    run = current_run.get()
    return None if run is None else run.task


current_app: Any = Proxy(get_current_app)
#: The task whose function is running, by a worker or called directly; else it stands for None.
current_task: Any = Proxy(_find_task)
