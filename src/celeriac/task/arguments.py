"""Arguments of a task: whether they fit the function, and Pydantic models among them."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from celeriac.exceptions import ConfigError

__all__ = ["Models", "Parameters", "retried_arguments"]


class Parameters:
    """The parameters of a function, and whether a call fits them.

    That depends on how many arguments are positional and on the names of the others, so each such shape is tried once.
    """

    _MOST_SHAPES = 1000  # a function with **kwargs may be called by any names

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._signature = inspect.signature(function)
        self._fitting: set[tuple[Any, ...]] = set()

    def check(self, args: list[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise `TypeError` naming the task when the arguments do not fit."""
        shape = (len(args), *kwargs)
        if shape in self._fitting:
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._name}{self._signature}: {error}") from None
        if len(self._fitting) < self._MOST_SHAPES:
            self._fitting.add(shape)


def retried_arguments(
    function: Callable[..., Any],
    old: tuple[list[Any], Mapping[str, Any]],
    args: list[Any] | None,
    kwargs: Mapping[str, Any] | None,
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a retry that names only some: the others stay, and none is given twice.

    New positional arguments replace what was given by name for the same parameters; new named ones replace positional
    ones, as Celery 5.7 has it.
    """
    old_args, old_kwargs = old
    if args is not None and kwargs is not None:
        return args, dict(kwargs)
    parameters = inspect.signature(function).parameters.values()
    by_name = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if args is not None:
        replaced = by_name[: len(args)]
        return args, {name: value for name, value in old_kwargs.items() if name not in replaced}
    if kwargs is None:
        return old_args, dict(old_kwargs)
    new_args, left = list(old_args), dict(kwargs)
    for position, name in enumerate(by_name[: len(new_args)]):
        if name in left:
            new_args[position] = left.pop(name)
    return new_args, left


class Models:
    """The Pydantic models in a function's signature: made from plain data for it, and plain data for the wire."""

    def __init__(
        self,
        function: Callable[..., Any],
        task_name: str,
        *,
        strict: bool,
        context: Mapping[str, Any] | None,
        dump_kwargs: Mapping[str, Any] | None,
    ) -> None:
        self._signature = inspect.signature(function)
        self._strict = strict
        self._context = {**(context or {}), "celery_task_name": task_name}
        self._dump_kwargs = {"mode": "json", **(dump_kwargs or {})}
        hints = _hints(function)
        parameters = self._signature.parameters.values()
        self._arguments = {
            parameter.name: model
            for parameter in parameters
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            and (model := _model(hints.get(parameter.name, parameter.annotation))) is not None
        }
        self._optional = {name for name in self._arguments if _is_union(hints.get(name, Any))}
        self._positions = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._returned = _model(hints.get("return", self._signature.return_annotation))

    def loaded(self, args: list[Any], kwargs: Mapping[str, Any], app: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with their models; raises `pydantic.ValidationError`."""
        bound = self._signature.bind(*args, **kwargs)
        for name, model in self._arguments.items():
            if name in bound.arguments and not (bound.arguments[name] is None and name in self._optional):
                bound.arguments[name] = self._load(model, bound.arguments[name], app)
        return bound.args, bound.kwargs

    def dumped(self, args: list[Any], kwargs: Mapping[str, Any], app: Any) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with models as plain data, where the worker makes an equal model of it."""
        names = [*self._positions, *("" for _ in args)]
        positional = [self._dump(name, value, app) for name, value in zip(names, args, strict=False)]
        return positional, {name: self._dump(name, value, app) for name, value in kwargs.items()}

    def dumped_result(self, value: Any) -> Any:
        """A returned model as plain data, if the function says that it returns this model."""
        if self._returned is not None and isinstance(value, self._returned):
            return value.model_dump(**self._dump_kwargs)
        return value

    def _load(self, model: Any, value: Any, app: Any) -> Any:
        context = {**self._context, "celery_app": app}
        return model.model_validate(value, strict=self._strict, context=context)

    def _dump(self, name: str, value: Any, app: Any) -> Any:
        model = self._arguments.get(name)
        if model is None or not isinstance(value, _base_model()):
            return value
        try:
            plain = value.model_dump(**self._dump_kwargs)
            return plain if self._load(model, plain, app) == value else value
        except Exception:  # validators of the application, some of which may work in a worker only
            return value


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, AttributeError, TypeError):  # names that exist only for type checkers
        return {}


def _model(annotation: Any) -> Any:
    """The model class of `Model` or `Model | None`, or None."""
    if _is_union(annotation):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        annotation = kinds[0] if len(kinds) == 1 else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, _base_model()) else None


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


@functools.cache
def _base_model() -> Any:
    try:
        from pydantic import BaseModel
    except ImportError:
        raise ConfigError("a task with pydantic=True needs Pydantic: pip install celeriac[pydantic]") from None
    return BaseModel
