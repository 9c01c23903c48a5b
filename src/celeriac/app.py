"""The application: `Celery`, which holds the settings and the tasks and opens the stores."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from celeriac.clock import SYSTEM_CLOCK, Clock, utc
from celeriac.engines import DEFAULT_URL, open_broker, open_results
from celeriac.engines.base import Broker, EngineOptions, ResultStore
from celeriac.exceptions import ConfigError, NotRegistered
from celeriac.publishing import Publisher
from celeriac.result import AsyncResult
from celeriac.retries import RetryPolicy
from celeriac.serialization import CONTENT_TYPES
from celeriac.settings import Settings
from celeriac.task import Task

__all__ = ["Celery"]

P = ParamSpec("P")
R = TypeVar("R")


class Celery:
    """An application. Make one at module level; making it opens nothing.

    `main` names tasks of a module that is run as a script. `broker` and `backend` are URLs; without them both are a
    file in the folder of the module that makes the application (`.celeriac/celeriac.db`; the environment variable
    CELERIAC_HOME names another folder). `include` lists modules with tasks that a worker imports. Further keywords
    are settings. Thread-safe, and safe to use after a fork.
    """

    def __init__(
        self,
        main: str | None = None,
        *,
        broker: str | None = None,
        backend: str | None = None,
        include: Iterable[str] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        **settings: Any,
    ) -> None:
        self.main = main
        self.clock = clock
        self.conf = Settings()
        self.tasks: dict[str, Task[..., Any]] = {}
        self.folder = _project_folder(sys._getframe(1).f_globals.get("__file__"))
        given = {"broker_url": broker, "result_backend": backend, "include": include}
        self.conf.update({name: value for name, value in given.items() if value is not None}, settings)
        self.publisher = Publisher(
            lambda: self.broker,
            lambda: float(self.conf.broker_connection_timeout),
            self._publish_policy,
        )
        self._opening = threading.Lock()
        self._broker: Broker | None = None
        self._results: ResultStore | None = None

    # ── tasks ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...

    @overload
    def task(
        self, /, *, bind: Literal[True], name: str | None = None, **options: Any
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...

    @overload
    def task(
        self, /, *, bind: Literal[False] = False, name: str | None = None, **options: Any
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...

    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        bind: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> Any:
        """Make a function a task: `@app.task` or `@app.task(bind=True, max_retries=5, ...)`.

        With `bind` the function's first parameter is the task itself (`self.request`, `self.retry`). A task is named after
        its module and function unless `name` is given.
        """

        def register(function: Any) -> Task[..., Any]:
            if not callable(function) or isinstance(function, type):
                raise TypeError(f"@app.task is for functions, not {function!r}")
            task_name = name or self.gen_task_name(function.__name__, function.__module__)
            made: Task[..., Any] = Task(self, function, task_name, bind, options)
            self.tasks[task_name] = made
            return made

        return register if function is None else register(function)

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task that is given none."""
        if module == "__main__" and self.main:
            module = self.main
        return f"{module}.{name}"

    def AsyncResult(self, task_id: str) -> AsyncResult[Any]:  # noqa: N802  # Celery's name
        """The result of an earlier call, by its id."""
        return AsyncResult(task_id, self)

    def find_task(self, name: str) -> Task[..., Any]:
        """The task of that name; raises `NotRegistered` naming the likely one."""
        import difflib

        task = self.tasks.get(name)
        if task is not None:
            return task
        last = name.rpartition(".")[2]
        near = [known for known in self.tasks if known.rpartition(".")[2] == last]
        near = near or difflib.get_close_matches(name, self.tasks, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(self.tasks)) or 'none'}"
        raise NotRegistered(f"there is no task {name!r} in this application; {hint}")

    def import_default_modules(self) -> None:
        """Import what the settings `imports` and `include` list, so that their tasks are known."""
        from importlib import import_module

        for name in (*self.conf.imports, *self.conf.include):
            import_module(name)

    # ── stores ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def broker(self) -> Broker:
        """The broker, opened at first use."""
        broker = self._broker
        if broker is None:
            with self._opening:
                broker = self._broker
                if broker is None:
                    options = self._engine_options("broker_transport_options")
                    broker = self._broker = open_broker(self.conf.broker_url or DEFAULT_URL, options)
        return broker

    @property
    def results(self) -> ResultStore:
        """The result store; the broker's own store unless `result_backend` names another."""
        if self._results is None:
            url = self.results_url
            broker = self.broker
            with self._opening:
                if self._results is None:
                    options = self._engine_options("result_backend_transport_options")
                    self._results = broker.result_store() if url is None else open_results(url, options)
        return self._results

    @property
    def results_url(self) -> str | None:
        """The URL of a result store beside the broker's own, or None. Options (a prefix, say) tell two stores apart too."""
        conf = self.conf
        same_url = conf.result_backend in (None, conf.broker_url or DEFAULT_URL)
        same_options = (
            conf.result_backend is None or conf.result_backend_transport_options == conf.broker_transport_options
        )
        return None if same_url and same_options else str(conf.result_backend)

    def _engine_options(self, setting: str) -> EngineOptions:
        return EngineOptions(self.folder, float(self.conf.broker_connection_timeout), self.conf[setting])

    def _publish_policy(self) -> RetryPolicy:
        if not self.conf.task_publish_retry:
            return RetryPolicy(max_retries=0)
        return RetryPolicy.from_celery(self.conf.task_publish_retry_policy)

    def close(self) -> None:
        """Let go of the stores; the next use opens them again."""
        with self._opening:
            broker, self._broker = self._broker, None
            results, self._results = self._results, None
        for store in (results, broker):
            if store is not None:
                store.close()

    # ── values derived from settings ─────────────────────────────────────────────────────────────────────────────────

    @property
    def timezone(self) -> tzinfo:
        """The zone of naive times."""
        from zoneinfo import ZoneInfo

        name = self.conf.timezone
        if name is not None:
            return ZoneInfo(name)
        return UTC if self.conf.enable_utc else datetime.now().astimezone().tzinfo or UTC

    def now(self) -> datetime:
        """The present time in the application's time zone."""
        return utc(self.clock.time()).astimezone(self.timezone)

    @property
    def accept(self) -> frozenset[str]:
        """The content types of `accept_content`."""
        return frozenset(CONTENT_TYPES.get(name, name) for name in self.conf.accept_content)

    @property
    def result_ttl_s(self) -> float | None:
        """Seconds that a result is kept; None: for ever."""
        return self.conf.result_expires or None

    def __repr__(self) -> str:
        return f"<Celery {self.main or '__main__'} at {hex(id(self))}>"

    def __reduce__(self) -> Any:
        raise ConfigError("an application cannot be pickled; import it where it is needed")


def _project_folder(module_file: str | None) -> str:
    """The folder of the outermost package of a module, or of the module itself.

    Found from the files alone, so that the module means the same folder whether it is imported or run as a script.
    """
    if module_file is None:
        return os.getcwd()
    folder = Path(module_file).absolute().parent
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return str(folder)
