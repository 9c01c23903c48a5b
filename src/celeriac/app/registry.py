"""The tasks of an application by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.cautions import warn
from celeriac.exceptions import AlreadyRegistered, DuplicateTaskNameWarning, NotRegistered

if TYPE_CHECKING:
    from celeriac.task import Task

__all__ = ["Registry"]


class Registry(dict[str, "Task[..., Any]"]):
    """`app.tasks`. A name that is not there raises `NotRegistered`, which names the likely one."""

    def register(self, task: Task[..., Any]) -> None:
        """Add a task. One of the same name and another function is replaced, with a warning."""
        if not task.name:
            raise AlreadyRegistered(f"{type(task).__name__} has no name to be registered by; set its attribute name")
        earlier = self.get(task.name)
        if earlier is not None and _home(earlier) != _home(task):
            warn(
                f"task {task.name!r} of {_home(task)} replaces that of {_home(earlier)}; give one of them another name",
                DuplicateTaskNameWarning,
            )
        self[task.name] = task

    def unregister(self, name: Any) -> None:
        """Remove a task, by its name or by itself; raises `NotRegistered`."""
        name = getattr(name, "name", name)
        if name not in self:
            raise NotRegistered(self._missing(name))
        del self[name]

    def regular(self) -> dict[str, Task[..., Any]]:
        """Without celeriac's own tasks."""
        return {name: task for name, task in self.items() if not name.startswith("celery.")}

    def __missing__(self, name: str) -> Any:
        raise NotRegistered(self._missing(name))

    def _missing(self, name: str) -> str:
        import difflib

        last = name.rpartition(".")[2]
        near = [known for known in self if known.rpartition(".")[2] == last]
        near = near or difflib.get_close_matches(name, self, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(self)) or 'none'}"
        return f"there is no task {name!r} in this application; {hint}"


def _home(task: Task[..., Any]) -> str:
    return f"{task.__module__}.{task.__name__}"
