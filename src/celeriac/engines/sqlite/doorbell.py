"""How a process that waits is woken by another one: a named pipe beside the store.

Whoever waits writes its bell's address into the store and sleeps on the pipe; whoever has something for it rings after its
transaction. A pipe has a name, no length limit and no port, works between containers that share the folder (under whatever
path: the address is the name in the folder), and tells the ringer when its owner is dead (no one has it open for reading).
Rings carry a line (a task id) so that one process can
wait for thousands of results on one bell.
"""

from __future__ import annotations

import errno
import os
import select
import tempfile
import threading
import time
import uuid
import weakref
from pathlib import Path

__all__ = ["Doorbell", "ring", "sweep"]

_PIPE_BYTES = 65536
_WAKE = "!"


class Doorbell:
    """A bell of this process. `wait` from one thread at a time; `wake` and `close` from any."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        for place in (folder, Path(tempfile.gettempdir())):
            self.path = str(place / f"celeriac-{uuid.uuid4().hex}.bell")
            try:
                place.mkdir(parents=True, exist_ok=True)
                os.mkfifo(self.path, 0o600)
                #: What `ring` is given, together with the folder.
                self.address = os.path.basename(self.path) if place is folder else self.path
                break
            except OSError:
                # Some file systems (FAT, a few container mounts) have no named pipes; the temporary folder has.
                if place is not folder:
                    raise
        self._take_down = weakref.finalize(self, _remove, self.path, os.getpid())
        # Opened for both: a reader alone would see end-of-file whenever the last ringer closed its end.
        self._fd: int | None = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def wait(self, timeout_s: float) -> list[str] | None:
        """The lines that were rung, [] if none came in time, None if so many came that some may be lost."""
        fd = self._fd
        if fd is None:
            return []
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(max(0.0, timeout_s) * 1000):
            return []
        try:
            data = os.read(fd, _PIPE_BYTES)
        except (BlockingIOError, OSError):
            return []
        # A ringer that finds the pipe full goes on without ringing; a full read is how that shows here.
        return None if len(data) >= _PIPE_BYTES - 512 else data.decode("utf-8", "replace").splitlines()

    def wake(self) -> None:
        """End the current or the next `wait`."""
        with self._lock:
            if self._fd is not None:
                try:
                    os.write(self._fd, f"{_WAKE}\n".encode())
                except BlockingIOError:
                    pass  # full, so the waiter will wake anyway

    def close(self) -> None:
        """Take the bell down. Idempotent."""
        with self._lock:
            fd, self._fd = self._fd, None
        self._take_down()
        if fd is not None:
            os.close(fd)

    def abandon(self) -> None:
        """After a fork: the bell belongs to the parent; only this copy of its descriptor goes."""
        self._take_down.detach()
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def ring(folder: Path, address: str, line: str = _WAKE) -> bool:
    """Ring a bell; False if its owner is gone (its pipe is then removed)."""
    path = os.path.join(folder, address)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.ENXIO:
            return True  # too many open files here, say: the owner may live, and looks by itself now and then
        try:
            os.unlink(path)  # no reader
        except OSError:
            pass
        return False
    try:
        os.write(fd, f"{line}\n".encode())
    except BlockingIOError:
        pass  # full: the owner has plenty to wake for
    except BrokenPipeError:
        return False
    finally:
        os.close(fd)
    return True


def sweep(folder: Path) -> None:
    """Remove the bells of processes that were killed."""
    for path in folder.glob("celeriac-*.bell"):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            # A bell made this instant and not opened yet looks the same; its owner then finds no pipe and its waits end
            # at their time-out, which is the next poll.
            try:
                if path.stat().st_mtime < _a_minute_ago():
                    path.unlink()
            except OSError:
                pass


def _a_minute_ago() -> float:
    return time.time() - 60


def _remove(path: str, owner_pid: int) -> None:
    # Also runs at the end of the interpreter, where a forked copy must not take down its parent's bell.
    if os.getpid() == owner_pid:
        try:
            os.unlink(path)
        except OSError:
            pass
