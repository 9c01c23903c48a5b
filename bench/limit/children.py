"""The processes of a loop by hand."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

__all__ = ["run_in_children"]


def run_in_children(count: int, work: Callable[[str], None]) -> None:
    """Fork so many, each of which does the work under a name of its own; return when all have ended."""
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=work, args=(f"w{number}",), daemon=True) for number in range(count)]
    for child in children:
        child.start()
    for child in children:
        child.join()
