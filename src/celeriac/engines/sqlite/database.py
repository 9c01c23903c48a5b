"""One process's connection to the store: transactions with a deadline, errors in words, safe across fork.

A process has one connection, used by its threads in turn. Writers of different processes take turns (turnstile.py). Who
finds the store taken all the same, by a program that knows of no turns, tries again every half millisecond instead of
leaving it to SQLite's busy handler, whose growing sleeps let single writers starve (ARCHITECTURE.md has the figures).
"""

from __future__ import annotations

import errno
import logging
import os
import random
import shutil
import sqlite3
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from celeriac.crashpoints import reach
from celeriac.engines.sqlite import schema
from celeriac.engines.sqlite.location import HOME_FOLDER, Location, is_mount_point, network_file_system
from celeriac.engines.sqlite.log import Log
from celeriac.engines.sqlite.turnstile import Turnstile
from celeriac.exceptions import BrokerError, ConfigError, OperationalError

__all__ = ["USUAL_LOG_BYTES", "Database"]

_FULL = "the disk is full; nothing was written. Make room and try again"
_RETRY_BETWEEN_S = (0.0001, 0.0008)

#: To this size the log is cut when it starts anew. It grows beyond while somebody reads on in the past.
USUAL_LOG_BYTES = 64 * 1024 * 1024

T = TypeVar("T")

logger = logging.getLogger("celeriac.sqlite")

_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_inherited: list[sqlite3.Connection] = []
_creating = threading.Lock()


class Database:
    """The store's file (or memory), opened at first use. Thread-safe; a forked child opens its own connection.

    Raises `OperationalError` when the file cannot be used now (locked, full, a disk error) and `BrokerError` or
    `ConfigError` when it cannot be used at all; each names the file and the remedy.
    """

    def __init__(self, location: Location, timeout_s: float) -> None:
        self.location = location
        self._timeout_s = timeout_s
        self._mutex = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._synchronous = ""
        self._log: Log | None = None
        self._unsynced = False
        self._turnstile: Turnstile | None = None
        self._version = 0
        self._owner_pid = os.getpid()
        self._scratch: Path | None = None
        self._fork_hooks: list[Callable[[], None]] = []
        self._held_for_fork = False
        _open_databases.add(self)

    def __str__(self) -> str:
        return str(self.location)

    def side_folder(self, name: str) -> Path:
        """A folder that belongs to this store: beside its file, or temporary for a store in memory."""
        if self.location.path is not None:
            # Links to the file lead to the same folder, as with SQLite's log, or its workers would not see each other.
            path = os.path.realpath(self.location.path)
            return Path(f"{path}-{name}")
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="celeriac-"))
            self._clear_scratch = weakref.finalize(self, _remove_folder, self._scratch, os.getpid())
        return self._scratch / name

    def after_fork(self, hook: Callable[[], None]) -> None:
        """Call `hook` in every forked child, so that what belongs to the parent is let go of."""
        self._fork_hooks.append(hook)

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed at the end, rolled back by an exception.

        `durable` waits for the disk before anyone sees the change, so that it outlives a power cut. Without it, and before
        `sync`, a power cut may undo the change, but neither a crash of this process nor of any other can.
        """
        deadline = self._acquire()
        try:
            connection = self._connected(deadline)
            try:
                self._set_synchronous(connection, durable)
                if self._turnstile is not None:
                    self._turnstile.enter(deadline)
                self._until(deadline, lambda: connection.execute("BEGIN IMMEDIATE"))
                self._recheck(connection)
                yield connection
                reach("sqlite-committing")
                connection.execute("COMMIT")
                reach("sqlite-committed")
            except sqlite3.Error as error:
                raise self._explained(error) from error
            finally:
                self._end(connection)
                if self._turnstile is not None:
                    self._turnstile.leave()
        finally:
            self._mutex.release()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A read transaction: its statements see one moment of the store, and keep no writer waiting."""
        deadline = self._acquire()
        try:
            connection = self._connected(deadline)
            try:
                connection.execute("BEGIN")
                # What takes the snapshot; another process that repairs the log after a crash may be in the way.
                self._until(deadline, lambda: self._recheck(connection))
                yield connection
            except sqlite3.Error as error:
                raise self._explained(error) from error
            finally:
                self._end(connection)
        finally:
            self._mutex.release()

    def sync(self) -> None:
        """Return when what this process has committed is on the disk; to be called after a write that is not `durable`.

        Unlike in that, others write meanwhile, and who syncs at the same time shares the disk's work. They also read what is
        not on the disk yet; whatever they write then gets there after it.
        """
        if self.location.path is None or self.location.synchronous != "full":
            return
        try:
            log = self._log_to_sync()
            if log is not None:
                log.sync()
        except FileNotFoundError:
            pass  # who closes the store last moves all into the file and syncs that
        except OSError as error:
            self._unsynced = True
            raise OperationalError(f"{self}: the disk reports an error ({error}). Look at its health") from error

    def _log_to_sync(self) -> Log | None:
        deadline = self._acquire()
        try:
            if self._unsynced:
                self._move_log(self._connected(deadline))
                return None
            log = self._log or Log(self._log_path())
            if self._connection is not None:  # else it may be another log next time
                self._log = log
            return log
        finally:
            self._mutex.release()

    def _move_log(self, connection: sqlite3.Connection) -> None:
        """Write to the file, and sync, what could not be synced in the log: the system may think that done by now."""
        try:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        except sqlite3.Error as error:
            raise self._explained(error) from error
        if busy:
            raise OperationalError(f"{self}: the disk has reported an error, and the store is too busy to mend it now")
        self._unsynced = False

    def _log_path(self) -> str:
        return f"{os.path.realpath(str(self.location.path))}-wal"

    def log_bytes(self) -> int:
        """How long the write-ahead log is now."""
        try:
            return os.stat(self._log_path()).st_size if self.location.path else 0
        except OSError:
            return 0

    def close(self) -> None:
        """Close the connection; the next use opens it again. A store in memory is gone."""
        with self._mutex:
            self._disconnect()
            if self._scratch is not None:
                self._clear_scratch()
                self._scratch = None

    def _acquire(self) -> float:
        """Take the mutex; returns the deadline of what is done with it."""
        deadline = time.monotonic() + self._timeout_s
        if not self._mutex.acquire(timeout=self._timeout_s):
            raise OperationalError(
                f"{self}: another thread of this process has held the store for {self._timeout_s:g} s"
            )
        return deadline

    def _connected(self, deadline: float) -> sqlite3.Connection:
        path = self.location.path
        if path is None:
            if self._owner_pid != os.getpid():
                raise ConfigError(
                    ":memory: serves one process, and this is another one (forked): use a file, or -P solo for the worker"
                )
        elif self._connection is not None and self._identity != _identity(path):
            # What we would write to the old one now, nobody would ever read.
            logger.warning("%s was deleted or replaced; going on with the new one", self)
            self._disconnect()
        if self._connection is None:
            self._connection = self._connect(deadline)
        return self._connection

    def _connect(self, deadline: float) -> sqlite3.Connection:
        path = self.location.path
        if path is not None:
            self._prepare_file(path)
        try:
            connection = sqlite3.connect(
                ":memory:" if path is None else path,
                timeout=0,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
        except sqlite3.Error as error:
            raise self._explained(error) from error
        try:
            self._until(deadline, lambda: self._install(connection))
        except sqlite3.Error as error:
            connection.close()
            raise self._explained(error) from error
        except BaseException:
            connection.close()
            raise
        self._identity = None if path is None else _identity(path)
        self._turnstile = None if path is None else Turnstile(self.side_folder("turns"))
        return connection

    def _install(self, connection: sqlite3.Connection) -> None:
        """Check that this is a store, and make one of an empty file or of an older one."""
        version = schema.check(connection, str(self))
        connection.execute("PRAGMA journal_mode=WAL")
        self._synchronous = ""
        self._set_synchronous(connection, durable=True)
        connection.execute("PRAGMA temp_store=MEMORY")
        # Where SQLite was built to overwrite all it deletes, a deleted message of 1 MB would be written once more.
        connection.execute("PRAGMA secure_delete=FAST")
        connection.execute(f"PRAGMA journal_size_limit={USUAL_LOG_BYTES}")
        self._version = version if version >= schema.VERSION else schema.make(connection, str(self))

    def _set_synchronous(self, connection: sqlite3.Connection, durable: bool) -> None:
        level = "FULL" if durable and self.location.synchronous == "full" else "NORMAL"
        if level != self._synchronous:
            connection.execute(f"PRAGMA synchronous={level}")
            self._synchronous = level

    def _recheck(self, connection: sqlite3.Connection) -> None:
        try:
            self._version = schema.recheck(connection, self._version, str(self))
        except OperationalError:
            self._identity = None  # the next call opens it again, and brings it up to date
            raise

    def _prepare_file(self, path: Path) -> None:
        remedy = "Set CELERIAC_HOME to a folder on a local disk that you may write to, or name a file in broker_url"
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if path.parent.name == HOME_FOLDER else 0o777)
            if path.parent.name == HOME_FOLDER and not (path.parent / ".gitignore").exists():
                (path.parent / ".gitignore").write_text("*\n")
            mounts = _mount_table()
            file_system = network_file_system(path.parent.resolve(), mounts)
            if file_system is not None:
                raise ConfigError(
                    f"{path} lies on a network file system ({file_system}), where SQLite's locks do not hold and tasks "
                    f"would be lost. {remedy}"
                )
            if is_mount_point(Path(os.path.realpath(path)), mounts):
                raise ConfigError(
                    f"{path} is mounted alone, without its folder, where its log lies: what one container writes the "
                    "others would not see. Mount the folder"
                )
            _create(path)
            if path.is_dir():
                raise ConfigError(f"{path} is a folder, not a file. Name a file in broker_url")
            if not os.access(path, os.R_OK | os.W_OK):
                raise BrokerError(f"{path} cannot be written: it is read-only or belongs to someone else. {remedy}")
        except OSError as error:
            if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
                raise OperationalError(f"{self}: {_FULL}") from None
            raise BrokerError(f"{path} cannot be written: {error.strerror}. {remedy}") from None

    def _until(self, deadline: float, attempt: Callable[[], T]) -> T:
        """Try until it is not busy or the deadline has come."""
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if _code(error) not in ("SQLITE_BUSY", "SQLITE_LOCKED") or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(*_RETRY_BETWEEN_S))

    def _end(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._disconnect()  # a disk error in the middle: the next call starts afresh

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._log = self._turnstile = None
        if connection is not None:
            connection.close()

    def _explained(self, error: sqlite3.Error) -> BrokerError:
        code = _code(error)
        if code in ("SQLITE_BUSY", "SQLITE_LOCKED"):
            return OperationalError(
                f"{self} has been locked by another program for {self._timeout_s:g} s; nothing was written. "
                "Close whatever holds it (an open database browser, a backup)"
            )
        if code == "SQLITE_FULL" or (code == "SQLITE_IOERR" and self._is_disk_full()):
            return OperationalError(f"{self}: {_FULL}")
        if code == "SQLITE_IOERR":
            return OperationalError(
                f"{self}: the disk reports an error ({error}); nothing was written. Look at its health and at quotas"
            )
        if code == "SQLITE_CANTOPEN":
            return OperationalError(
                f"{self} cannot be opened: its folder has gone or may not be written to, or this process has too many open "
                "files; nothing was written"
            )
        if code == "SQLITE_READONLY":
            return BrokerError(
                f"{self} is read-only; nothing was written. Make the file and its folder writable, or set CELERIAC_HOME"
            )
        if code in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
            return BrokerError(
                f"{self} is not a celeriac store, or is damaged ({error}); it was left alone. "
                "Name another file in broker_url, or move this one away"
            )
        return BrokerError(f"{self}: {error}")

    def _is_disk_full(self) -> bool:
        """SQLite says so of its log and its file, but not of the memory that it shares between processes."""
        try:
            return self.location.path is not None and os.statvfs(self.location.path).f_bavail == 0
        except OSError:
            return False

    def _before_fork(self) -> None:
        # SQLite's table of file locks would be copied, but the locks themselves are not: the child would believe to hold
        # what it does not, its write-ahead log could be removed under it, and what it wrote would be lost.
        if self._mutex.acquire(timeout=self._timeout_s):
            self._held_for_fork = True
            if self.location.path is not None:
                self._disconnect()

    def _after_fork_in_parent(self) -> None:
        if self._held_for_fork:
            self._held_for_fork = False
            self._mutex.release()

    def _after_fork(self) -> None:
        # In memory, or if a transaction did not end in time. Closing an inherited connection is not safe, nor is letting
        # the garbage collector do it.
        self._held_for_fork = False
        if self._connection is not None:
            _inherited.append(self._connection)
            self._connection = None
        self._log = self._turnstile = None
        self._mutex = threading.Lock()
        for hook in self._fork_hooks:
            hook()


def _create(path: Path) -> None:
    """Make an empty file unless there is one.

    One that is there is never opened: closing any descriptor of a file takes away all locks that this process has on it
    (POSIX), also those of a connection that is in use. Another process would then think itself the last one, remove the
    write-ahead log, and with it what this process goes on to write.
    """
    with _creating:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            pass


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:  # gone; why, opening it will tell
        return None
    return status.st_dev, status.st_ino


def _code(error: sqlite3.Error) -> str:
    """SQLite's primary result code; extended ones (SQLITE_BUSY_SNAPSHOT) are cut to it."""
    name = getattr(error, "sqlite_errorname", None) or ""
    return "_".join(name.split("_")[:2])


def _mount_table() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _remove_folder(folder: Path, owner_pid: int) -> None:
    if os.getpid() == owner_pid:  # a forked copy must not remove its parent's
        shutil.rmtree(folder, ignore_errors=True)


def _before_fork() -> None:
    for database in list(_open_databases):
        database._before_fork()
    _creating.acquire()


def _after_fork_in_parent() -> None:
    _creating.release()
    for database in list(_open_databases):
        database._after_fork_in_parent()


def _after_fork() -> None:
    _creating.release()
    for database in list(_open_databases):
        database._after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork)
