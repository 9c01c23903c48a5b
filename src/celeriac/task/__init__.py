"""A function that can be called elsewhere: `Task`, what `@app.task` makes, and the base of class tasks."""

from __future__ import annotations

from celeriac.task.definition import Task

__all__ = ["Task"]
