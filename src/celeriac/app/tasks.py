"""The tasks of an application: how they are made, named, found and completed."""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Coroutine, Iterable
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from celeriac import signals
from celeriac.annotations import apply as annotate
from celeriac.annotations import resolve as resolved_annotations
from celeriac.app import current
from celeriac.app.discovery import Discovery
from celeriac.app.registry import Registry
from celeriac.exceptions import ConfigError
from celeriac.settings import Settings
from celeriac.signals import Signal
from celeriac.symbols import symbol
from celeriac.task import Task as BaseTask
from celeriac.task.options import check_set, checked
from celeriac.typevars import P, R

if TYPE_CHECKING:
    from celeriac.app.application import Celery
    from celeriac.task.decorating import CoroutineTask, MakesBoundTask, MakesTask

__all__ = ["Tasks"]


class Tasks:
    """The part of `Celery` that holds its tasks."""

    main: str | None
    conf: Settings
    #: The class of its tasks, or its dotted name: for subclasses, and the argument of the constructor.
    task_cls: type[BaseTask[..., Any]] | str = BaseTask

    def __init__(self, tasks: Any, task_cls: type[BaseTask[..., Any]] | str | None, autofinalize: bool) -> None:
        self.autofinalize = autofinalize
        self.finalized = False
        #: Later than `finalized`, which tasks see that are made meanwhile: other threads wait for the end of it.
        self._complete = False
        self.on_after_finalize = Signal(name="app.on_after_finalize")
        self.task_cls = task_cls or self.task_cls
        self._tasks = tasks if isinstance(tasks, Registry) else Registry(tasks or {})
        self._discoveries: list[Discovery] = []
        self._finalizing = threading.RLock()

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...

    @overload
    def task(self, function: Callable[P, R], /) -> BaseTask[P, R]: ...

    @overload
    def task(
        self, /, *, bind: Literal[True], name: str | None = None, base: Any = None, **options: Any
    ) -> MakesBoundTask: ...

    @overload
    def task(
        self, /, *, bind: Literal[False] = False, name: str | None = None, base: Any = None, **options: Any
    ) -> MakesTask: ...

    def task(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Make a function a task: `@app.task` or `@app.task(bind=True, max_retries=5, ...)`.

        With `bind` the function's first parameter is the task itself (`self.request`, `self.retry`). `base` is a class
        derived from `Task`, with handlers or options. A task is named after its module and function unless `name` is
        given. `filter` is called with the new task and returns what stands for it. `shared` and `lazy` are accepted:
        tasks are made at once here, and shared by `shared_task`.
        """
        if function is not None:
            return self.task_from(function, **options)
        return partial(self.task_from, **options)

    def task_from(
        self,
        function: Callable[..., Any],
        /,
        *,
        name: str | None = None,
        base: type[BaseTask[..., Any]] | None = None,
        bind: bool = False,
        filter: Callable[[Any], Any] | None = None,
        shared: bool = True,
        lazy: bool = True,
        **options: Any,
    ) -> Any:
        """As `task`, with the function given."""
        given: Any = function
        if not callable(given) or isinstance(given, type):
            raise TypeError(
                f"@app.task is for functions, not {function!r}; for a class derive it from Task and call app.register_task"
            )
        short = getattr(function, "__name__", None) or (name or "").rpartition(".")[2]
        if not short:
            raise ConfigError(f"{function!r} has no name of its own; give the task one: @app.task(name='...')")
        module = getattr(function, "__module__", None) or "__main__"
        task_name = name or self.gen_task_name(short, module)
        base = self._base(base)
        kept = checked(task_name, options, base)
        attributes = {
            **kept,
            "_app": self,
            "name": task_name,
            "run": function if bind else staticmethod(function),
            "__wrapped__": staticmethod(function),
            "__module__": module,
            "__qualname__": getattr(function, "__qualname__", short),
            "__doc__": function.__doc__,
        }
        kind = types.new_class(short, (base,), exec_body=lambda space: space.update(attributes))
        task = kind()
        task.__name__ = short
        self._adopt(task)
        return task if filter is None else filter(task)

    def register_task(self, task: Any, **options: Any) -> BaseTask[..., Any]:
        """Register a class task: an instance, or a class derived from `Task`."""
        made = task() if isinstance(task, type) else task
        if not isinstance(made, BaseTask):
            raise TypeError(f"register_task takes a task derived from Task, not {task!r:.80}")
        kind = type(made)
        made.__name__ = kind.__name__
        made._app = cast("Celery", self)  # type: ignore[misc]
        made.name = made.name or self.gen_task_name(kind.__name__, kind.__module__)
        for option, value in checked(made.name, options, kind).items():
            setattr(made, option, value)
        self._adopt(made)
        return made

    def _adopt(self, task: BaseTask[..., Any]) -> None:
        self._tasks.register(task)
        type(task).on_bound(cast("Celery", self))
        if self.finalized:
            self._annotate(task)

    def _base(self, base: type[BaseTask[..., Any]] | None) -> type[BaseTask[..., Any]]:
        if base is None:
            return self.Task
        kind: Any = base  # whatever a caller wrote
        if not (isinstance(kind, type) and issubclass(kind, BaseTask)):
            raise TypeError(f"base= takes a class derived from Task, not {base!r:.80}")
        return base

    @cached_property
    def Task(self) -> type[BaseTask[..., Any]]:  # noqa: N802  # Celery's name
        """The class of this application's tasks: what `base` classes of one's own derive from."""
        kind: Any = self.task_cls
        if isinstance(kind, str):
            kind = symbol(kind, "task_cls")
        return cast(
            "type[BaseTask[..., Any]]",
            type("Task", (kind,), {"_app": self, "__module__": kind.__module__}),
        )

    @property
    def tasks(self) -> Registry:
        """All tasks by name, shared ones included."""
        if not self._complete:
            self.finalize(auto=True)
        return self._tasks

    def finalize(self, auto: bool = False) -> None:
        """Complete the tasks: shared ones are added, and `task_annotations` applied. Done at first use of `tasks`."""
        with self._finalizing:
            if self.finalized:
                return
            if auto and not self.autofinalize:
                raise RuntimeError("this application was made with autofinalize=False; call app.finalize() first")
            self.finalized = True
            try:
                for make in current.shared_tasks():
                    make(cast("Celery", self))
                for task in list(self._tasks.values()):
                    self._annotate(task)
            except BaseException:
                self.finalized = False  # whoever asks next meets the error too, and not an application that lacks tasks
                raise
            self._complete = True
            self.on_after_finalize.send(sender=self)

    def _annotate(self, task: BaseTask[..., Any]) -> None:
        if self._annotations:
            annotate(self._annotations, task)
            check_set(task.name, vars(task))

    @cached_property
    def _annotations(self) -> list[Any]:
        return resolved_annotations(self.conf.task_annotations)

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task that is given none."""
        if module == "__main__" and self.main:
            module = self.main
        return f"{module}.{name}"

    def find_task(self, name: str) -> BaseTask[..., Any]:
        """The task of that name; raises `NotRegistered` naming the likely one."""
        return self.tasks[name]

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Import the module `tasks` of each of these packages, when a worker or command needs them, or at once (`force`).

        `packages` may be a function, which is called then.
        """
        discovery = Discovery(() if packages is None else packages, related_name)
        if force:
            discovery.run()
        else:
            self._discoveries.append(discovery)

    def import_default_modules(self) -> None:
        """Import what `imports` and `include` list and what is to be discovered, so that its tasks are known."""
        for name in (*self.conf.imports, *self.conf.include):
            import_module(name)
        self.discover()

    def discover(self) -> None:
        """Announce that modules are being imported, and do what `autodiscover_tasks` has put off."""
        if signals.import_modules.receivers:
            signals.import_modules.send(sender=self)
        while self._discoveries:
            self._discoveries.pop(0).run()
