"""A wall clock that a test can turn, for whole processes: a shim that is loaded before libc (Linux with a C compiler)."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["WallClock", "needs_compiler"]

_SOURCE = Path(__file__).with_name("clock_shim.c")

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="turns a clock by a library compiled for it"
)


class WallClock:
    """`environment` is for the processes whose clock this is; `ahead(seconds)` turns it, also backwards."""

    def __init__(self, folder: Path) -> None:
        shim, cell = folder / "clock_shim.so", folder / "clock"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, _SOURCE, "-ldl"], check=True, timeout=60)
        cell.write_bytes(struct.pack("d", 0.0))
        fd = os.open(cell, os.O_RDWR)
        self._cell = mmap.mmap(fd, 8)
        os.close(fd)
        self.environment = {"LD_PRELOAD": str(shim), "CLOCK_SHIM": str(cell)}

    def ahead(self, seconds: float) -> None:
        self._cell[:] = struct.pack("d", seconds)
