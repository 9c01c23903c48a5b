"""`Celery`: the settings, the tasks, and the way to the stores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from celeriac import configuration
from celeriac.app import current
from celeriac.app.calls import Calls
from celeriac.app.derived import Derived
from celeriac.app.folder import makers_file, project_folder
from celeriac.app.stores import Stores
from celeriac.app.tasks import Tasks
from celeriac.cautions import warn
from celeriac.clock import SYSTEM_CLOCK, Clock
from celeriac.exceptions import ConfigError
from celeriac.request import current_run, running
from celeriac.settings import Settings
from celeriac.signals import Signal
from celeriac.task import Task

if TYPE_CHECKING:
    from celeriac.control import Control
    from celeriac.dead_letters import DeadLetters
    from celeriac.engines.base import Broker, ResultStore
    from celeriac.publishing import Publisher

__all__ = ["Celery"]


class Celery(Tasks, Calls, Derived):
    """An application. Make one at module level; making it opens nothing.

    `main` names tasks of a module that is run as a script. `broker` and `backend` are URLs; without them both are a
    file in the folder of the module that makes the application (`.celeriac/celeriac.db`; the environment variable
    CELERIAC_HOME names another folder). `include` lists modules with tasks that a worker imports. `task_cls` is the class
    of its tasks, or its dotted name. `config_source` and `namespace` are those of `config_from_object`. Further keywords
    are settings. `loader`, `amqp`, `events`, `log`, `control` and `fixups` replace parts of Celery that celeriac does not
    have; they have no effect. Thread-safe, and safe to use after a fork.
    """

    def __init__(
        self,
        main: str | None = None,
        loader: Any = None,
        backend: str | None = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,
        tasks: Any = None,
        broker: str | None = None,
        include: Iterable[str] | None = None,
        changes: Mapping[str, Any] | None = None,
        config_source: Any = None,
        fixups: Any = None,
        task_cls: type[Task[..., Any]] | str | None = None,
        autofinalize: bool = True,
        namespace: str | None = None,
        strict_typing: bool = True,
        config_source_silent: bool = False,
        *,
        clock: Clock = SYSTEM_CLOCK,
        **settings: Any,
    ) -> None:
        unused = {"loader": loader, "amqp": amqp, "events": events, "log": log, "control": control, "fixups": fixups}
        for name, value in unused.items():
            if value is not None:
                warn(f"Celery({name}=...) has no effect: celeriac has no such part to replace")
        Tasks.__init__(self, tasks, task_cls, autofinalize)
        Calls.__init__(self)
        self.main = main
        self.clock = clock
        self.strict_typing = strict_typing
        self._namespace = namespace
        self.on_configure = Signal(name="app.on_configure")
        self.on_after_configure = Signal(name="app.on_after_configure", providing_args=("source",))
        self.on_after_fork = Signal(name="app.on_after_fork")
        self.conf = Settings(before_first_read=self._announce_configure, after_first_read=self._announce_configured)
        self.stores = Stores(lambda: self.conf, project_folder(makers_file(self)))
        given = {"broker_url": broker, "result_backend": backend, "include": include}
        self.conf.update({name: value for name, value in given.items() if value is not None}, settings)
        if changes:
            self.conf.update(changes)
        if config_source is not None:
            self.config_from_object(config_source, silent=config_source_silent)
        current.note_app(self)
        if set_as_current:
            self.set_current()
        self.on_init()

    def on_init(self) -> None:
        """Called at the end of the constructor, for subclasses."""

    # ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Take settings from a module, class, instance or dictionary, or from what a dotted name stands for.

        It is read when a setting is first needed, or at once with `force`. With `namespace="CELERY"` only names that begin
        with `CELERY_` are read. `silent` passes over a module that is not there.
        """
        configuration.defer_object(self.conf, obj, silent=silent, namespace=namespace or self._namespace)
        if force:
            self.conf.finalize()

    def config_from_envvar(
        self, variable_name: str, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """As `config_from_object`, with the name of the module in an environment variable."""
        configuration.defer_envvar(self.conf, variable_name, silent=silent, namespace=namespace or self._namespace)
        if force:
            self.conf.finalize()

    def add_defaults(self, fun: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Values for settings that nothing else sets: a dictionary, or a function that is called when they are needed."""
        self.conf.add_defaults(fun)

    def _announce_configure(self) -> None:
        self.on_configure.send(sender=self)

    def _announce_configured(self) -> None:
        self.on_after_configure.send(sender=self, source=self.conf)

    # ── stores ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def folder(self) -> str:
        """Where the embedded store lies."""
        return self.stores.folder

    @property
    def broker(self) -> Broker:
        """The broker, opened at first use."""
        return self.stores.broker

    @property
    def results(self) -> ResultStore:
        """The result store; the broker's own store unless `result_backend` names another."""
        return self.stores.results

    @cached_property
    def publisher(self) -> Publisher:
        """What sends messages, for all threads and event loops."""
        from celeriac.publishing import Publisher

        return Publisher(
            lambda: self.broker,
            lambda: float(self.conf.broker_connection_timeout),
            self._publish_policy,
        )

    @cached_property
    def control(self) -> Control:
        """What one tells the workers: revoke a task, end it."""
        from celeriac.control import Control

        return Control(self)

    @property
    def dead_letters(self) -> DeadLetters:
        """What was buried: to look at, send again, edit and drop."""
        from celeriac.dead_letters import DeadLetters

        return DeadLetters(self)

    @property
    def backend(self) -> ResultStore:
        """The result store, by Celery's name."""
        return self.stores.results

    def close(self) -> None:
        """Let go of the stores; the next use opens them again."""
        self.stores.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # ── what is going on ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def current_task(self) -> Task[..., Any] | None:
        """The task whose function is running, by a worker or called directly, or None."""
        run = current_run.get()
        return None if run is None else run.task

    @property
    def current_worker_task(self) -> Task[..., Any] | None:
        """The task that a worker runs, or None."""
        run = running()
        return None if run is None else run.task

    def set_current(self) -> None:
        """Make this the current application of this thread."""
        current.set_current_app(self)

    def set_default(self) -> None:
        """Make this the current application of all threads that have none of their own."""
        current.set_default_app(self)

    def worker_main(self, argv: list[str] | None = None) -> None:
        """Run a worker of this application, as `celeriac -A this-app worker ...`; `argv` are its options."""
        given = sys.argv[1:] if argv is None else argv
        self.start(given if "worker" in given else ["worker", *given])

    def start(self, argv: list[str] | None = None) -> None:
        """Run the command line for this application, which its processes find by the module that holds it."""
        self._command_line().run_for(self, sys.argv[1:] if argv is None else argv)

    def bugreport(self) -> str:
        """What a bug report should say."""
        return str(self._command_line().bugreport(self))

    @staticmethod
    def _command_line() -> Any:
        # By name: the command line is made of applications, and not the other way round.
        return import_module("celeriac.cli.inside")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'} at {hex(id(self))}>"

    def __reduce__(self) -> Any:
        raise ConfigError("an application cannot be pickled; import it where it is needed")
