"""A disk of a few megabytes that a worker's store lies on.

It is mounted for the worker alone, in a mount namespace that ends with it; who is to see it as well is started inside.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, BinaryIO

import pytest

__all__ = ["fill", "inside_of", "make_room", "mounted_at", "needs_mounts"]

_BALLAST = "ballast"


def _may_mount() -> bool:
    if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("nsenter")):
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not _may_mount(), reason="needs to mount a small disk")


def mounted_at(folder: Path, size: str) -> list[str]:
    """The start of a command for which the folder is a disk of this size."""
    folder.mkdir()
    return ["unshare", "--mount", "sh", "-ec", f'mount -t tmpfs -o size={size} tmpfs "$0"\nexec "$@"', str(folder)]


def inside_of(pid: int) -> list[str]:
    """The start of a command that sees the disks that this process sees."""
    return ["nsenter", "--target", str(pid), "--mount"]


# ── what a `Peer` inside does ────────────────────────────────────────────────────────────────────────────────────────


def fill(_broker: Any, folder: str) -> None:
    """Leave no byte free."""
    with open(f"{folder}/{_BALLAST}", "ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            while _fits(file, size):
                pass


def _fits(file: BinaryIO, size: int) -> bool:
    try:
        return file.write(b"x" * size) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


def make_room(_broker: Any, folder: str) -> None:
    """Take away what `fill` has put there."""
    os.unlink(f"{folder}/{_BALLAST}")
