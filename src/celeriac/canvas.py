"""`Signature`: a call of a task as a value, to be made later, passed to another task, or sent along as its callback.

It is a dictionary of Celery's form (celery 5.7, celery/canvas.py): task, args, kwargs, options, subtask_type, immutable.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, cast

from celeriac.exceptions import InvalidTaskError
from celeriac.typevars import R

if TYPE_CHECKING:
    from celeriac.app import Celery
    from celeriac.result import AsyncResult, EagerResult
    from celeriac.runs import Run
    from celeriac.task import Task

__all__ = ["Signature", "maybe_signature", "signature", "subtask"]

#: Once set these stay, whoever merges options into a signature: they belong to the group or stamp it is part of.
_LASTING = ("group_id", "stamped_headers")


class Signature(dict[str, Any], Generic[R]):
    """One call: which task, with which arguments and options.

    Arguments that are given when it is called come before its own (`add.s(2).delay(1)` calls `add(1, 2)`), unless it is
    immutable. It can be sent and stored as it is; the application is found again where it is read.
    """

    TYPES: ClassVar[dict[str, type[Signature[Any]]]] = {}

    def __init__(
        self,
        task: Any = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        type: Any = None,
        subtask_type: str | None = None,
        immutable: bool = False,
        app: Celery | None = None,
        **more: Any,
    ) -> None:
        self._app = app
        self._type: Task[..., R] | None = type
        if isinstance(task, Mapping):
            super().__init__(task)
            return
        if not isinstance(task, str):
            self._type = task
            task = getattr(task, "name", None)
        if not task:
            raise InvalidTaskError("a signature needs a task or the name of one")
        super().__init__(
            task=task,
            args=tuple(args or ()),
            kwargs=dict(kwargs or {}),
            options={**(options or {}), **more},
            subtask_type=subtask_type,
            immutable=immutable,
        )

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Celery | None = None) -> Signature[Any]:
        """The signature in a dictionary, as it came over the wire; raises `InvalidTaskError` for a kind not known here."""
        kind = d.get("subtask_type")
        if kind is None:
            return Signature(d, app=app)
        target = cls.TYPES.get(kind)
        if target is None:
            raise InvalidTaskError(f"signatures of the kind {kind!r} are not in this version; single tasks are")
        return Signature(d, app=app) if target is cls else target.from_dict(d, app)

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[type[Signature[Any]]], type[Signature[Any]]]:
        """Decorate a class that is to be made of dictionaries with its name as their subtask_type."""

        def register(kind: type[Signature[Any]]) -> type[Signature[Any]]:
            cls.TYPES[name or kind.__name__] = kind
            return kind

        return register

    # ── what it holds ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def task(self) -> str:
        """The task's name."""
        return cast(str, self["task"])

    @property
    def args(self) -> tuple[Any, ...]:
        """Positional arguments."""
        return tuple(self.get("args") or ())

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments."""
        return cast("dict[str, Any]", self.setdefault("kwargs", {}))

    @property
    def options(self) -> dict[str, Any]:
        """Options of `apply_async`."""
        return cast("dict[str, Any]", self.setdefault("options", {}))

    @property
    def subtask_type(self) -> str | None:
        """None for a single task."""
        return cast("str | None", self.get("subtask_type"))

    @property
    def immutable(self) -> bool:
        """Whether it takes no further arguments."""
        return bool(self.get("immutable"))

    @property
    def id(self) -> str | None:
        """The id that `freeze` gave it."""
        return cast("str | None", self.options.get("task_id"))

    @property
    def parent_id(self) -> str | None:
        """The task that calls it, if that is settled."""
        return cast("str | None", self.options.get("parent_id"))

    @property
    def root_id(self) -> str | None:
        """The first of the tasks that led to it, if that is settled."""
        return cast("str | None", self.options.get("root_id"))

    @property
    def app(self) -> Celery:
        """The application that sends it: its own, or the current one."""
        if self._app is None:
            from celeriac.app.current import current_app

            self._app = cast("Celery", current_app._get_current_object())
        return self._app

    @property
    def type(self) -> Task[..., R]:
        """The task itself; raises `NotRegistered` where only its name is known."""
        if self._type is None:
            self._type = self.app.find_task(self.task)
        return self._type

    # ── calling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        """Run it here and now, in this process."""
        args, kwargs, _ = self.merged(args, kwargs, {})
        return self.type(*args, **kwargs)

    def delay(self, *args: Any, **kwargs: Any) -> AsyncResult[R]:
        """Have a worker run it; these arguments come before its own."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[R]:
        """As `Task.apply_async`, with its own arguments and options beneath those given."""
        args, kwargs, merged = self.merged(args or (), kwargs or {}, options)
        task = self._type or self.app.tasks.get(self.task)
        if task is None:
            return self.app.send_task(self.task, args, kwargs, **merged)
        return cast("Task[..., R]", task).apply_async(args, kwargs, **merged)

    def apply(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> EagerResult[R]:
        """Run it here and now, with all that a worker does around it."""
        given = {name: value for name, value in options.items() if value is not None}
        args, kwargs, merged = self.merged(args or (), kwargs or {}, given)
        return self.type.apply(args, kwargs, **merged)

    def apply_within(self, run: Run) -> None:
        """Have it called when this run ends: the message is stored together with all else that the run causes."""
        assert run.reporter is not None
        run.reporter.follow(self, ())

    def __invert__(self) -> R:
        """`~sig`: have a worker run it, and wait for the result."""
        return self.apply_async().get()

    # ── changing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def clone(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Self:
        """A copy with more arguments before its own, and other options."""
        if args or kwargs or options:
            args, kwargs, options = self.merged(args or (), kwargs or {}, options)
        else:
            args, kwargs, options = self.args, self.kwargs, self.options
        copy = type(self)(dict(self), app=self._app)
        copy._type = self._type
        copy.update(args=tuple(args), kwargs=dict(kwargs), options=deepcopy(options))
        return copy

    partial = clone

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> AsyncResult[R]:
        """Settle the id of the task that will run, and return its result before it is sent."""
        options = self.options
        task_id = options.setdefault("task_id", _id or str(uuid.uuid4()))
        settled = {
            "root_id": root_id, "parent_id": parent_id, "group_id": group_id, "group_index": group_index, "chord": chord
        }  # fmt: skip
        for name, value in settled.items():
            if value is not None:
                options.setdefault(name, value)
        return self.app.AsyncResult(task_id)

    def replace(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """A copy with these arguments or options in place of its own."""
        copy = self.clone()
        for name, value in (("args", args), ("kwargs", kwargs), ("options", options)):
            if value is not None:
                copy[name] = tuple(value) if name == "args" else dict(cast("Mapping[str, Any]", value))
        return copy

    def set(self, immutable: bool | None = None, **options: Any) -> Self:
        """Change options in place, and return it."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Whether it takes no further arguments."""
        self["immutable"] = immutable

    def link(self, callback: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have another signature called with the result; returns that one."""
        return self._append("link", callback)

    def link_error(self, errback: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have another signature called after a failure; returns that one."""
        return self._append("link_error", errback)

    def on_error(self, errback: Mapping[str, Any]) -> Self:
        """As `link_error`, but returns this signature."""
        self.link_error(errback)
        return self

    def flatten_links(self) -> list[Signature[Any]]:
        """This signature, its callbacks, their callbacks and so on."""
        found: list[Signature[Any]] = [self]
        for linked in _as_list(self.options.get("link")):
            found += cast("Signature[Any]", maybe_signature(linked, self._app)).flatten_links()
        return found

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """The call as it would be written in Python."""
        args, kwargs, _ = self.merged(args, kwargs, {})
        written = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
        return f"{self.task}({', '.join(written)})"

    def _append(self, option: str, signature: Mapping[str, Any]) -> Mapping[str, Any]:
        linked = self.options[option] = _as_list(self.options.get(option))
        if signature not in linked:
            linked.append(signature)
        return signature

    def merged(
        self, args: Iterable[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
        """Its arguments and options together with those given at the call."""
        own = self.options
        merged = {**own, **{name: value for name, value in options.items() if name not in _LASTING or name not in own}}
        if self.immutable:
            return self.args, dict(self.kwargs), merged
        return (*args, *self.args), {**self.kwargs, **kwargs}, merged

    def __or__(self, other: Any) -> NoReturn:
        raise TypeError("chains (a | b) are not in this version; link one task to another: a.link(b)")

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copy = type(self)(deepcopy(dict(self), memo), app=self._app)
        copy._type = self._type
        return copy

    def __reduce__(self) -> Any:
        # Without the application, which belongs to its process.
        return signature, (dict(self),)

    def __repr__(self) -> str:
        return self.reprcall()


def signature(varies: Any, *args: Any, app: Celery | None = None, **kwargs: Any) -> Signature[Any]:
    """A signature from a task, a name (with args, kwargs and options), or a dictionary that came over the wire."""
    if isinstance(varies, Mapping):
        if isinstance(varies, Signature):
            return varies.clone()
        return Signature.from_dict(varies, app)
    kwargs["app"] = app
    return Signature(varies, *args, **kwargs)


subtask = signature


def maybe_signature(d: Any, app: Celery | None = None, clone: bool = False) -> Any:
    """A dictionary as the signature it is; a signature and None as they are."""
    if d is None:
        return None
    if not isinstance(d, Signature):
        return Signature.from_dict(d, app)
    return d.clone() if clone else d


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


Signature.TYPES["task"] = Signature
