"""What a class of tasks may define to hear of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celeriac.app import Celery
    from celeriac.execution.failures import ExceptionInfo

__all__ = ["Handlers"]


class Handlers:
    """The part of `Task` that is there to be overridden; none of it does anything."""

    def before_start(self, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Called before the function; what it raises fails the run."""

    def on_success(self, retval: Any, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Called when the function has returned, before its result is stored; what it raises is logged."""

    def on_failure(
        self,
        exc: BaseException,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: ExceptionInfo | None,
    ) -> None:
        """Called when the run has failed, before that is stored; what it raises is logged."""

    def on_retry(
        self,
        exc: BaseException,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: ExceptionInfo | None,
    ) -> None:
        """Called when the run asks to be repeated; what it raises is logged."""

    def after_return(
        self,
        status: str,
        retval: Any,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: ExceptionInfo | None,
    ) -> None:
        """Called after success and after failure; what it raises is logged."""

    @classmethod
    def on_bound(cls, app: Celery) -> None:
        """Called when a task of this class is registered with an application."""
