"""The names of workers, and of the files named after them: what %h, %n, %d, %p, %i and %I stand for."""

from __future__ import annotations

import re
import socket

__all__ = ["name_file", "name_for_process", "node_name"]


def node_name(wanted: str | None) -> str:
    """The worker's name; %h, %n and %d stand for the host's full name, its first part, and its domain."""
    host = socket.gethostname()
    first, _, domain = host.partition(".")
    name = (wanted or "celery@%h").replace("%h", host).replace("%n", first).replace("%d", domain)
    return name if "@" in name else f"{name}@{host}"


def name_file(pattern: str, node: str) -> str:
    """A file of the worker `node`: %n and %h are what is before and after its @, %p all of it, %d the host's domain.

    %i and %I stay: what they stand for differs between the worker's processes.
    """
    name, _, host = node.partition("@")
    parts = {"%n": name, "%h": host, "%p": node, "%d": host.partition(".")[2]}
    return re.sub("%[nhpd]", lambda found: parts[found.group()], pattern)


def name_for_process(pattern: str, process_name: str) -> str:
    """The rest of it: %i is the number at the end of the process's name, 0 without one; %I is -1, -2 or nothing."""
    number = process_name.rpartition("-")[2] if process_name[-1:].isdigit() else ""
    return pattern.replace("%I", f"-{number}" if number else "").replace("%i", number or "0")
