"""Being a service: another user, a pid file, the background. For `celeriac worker`, before it starts anything."""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import select
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from celeriac.cli.errors import exit_status
from celeriac.exceptions import ConfigError
from celeriac.worker import Wishes, run_worker
from celeriac.worker.names import name_file, name_for_process, node_name

__all__ = ["become", "pid_file", "run_detached", "start"]

#: How long the terminal waits for a worker in the background to be ready, before it leaves it to its start.
_PATIENCE_S = 15.0
_READY = b"r"


def start(
    wishes: Wishes, *, detach: bool, pidfile: str | None, uid: str | None, gid: str | None, umask: str | None
) -> int:
    """Run a worker as the options say; returns the exit status. Raises `ConfigError`."""
    become(uid, gid)
    if umask is not None:
        os.umask(_octal(umask))
    node = node_name(wishes.hostname)
    pattern = wishes.logfile or ("%n.log" if detach else None)
    wishes = replace(wishes, hostname=node, logfile=pattern and name_file(pattern, node))
    path = pidfile and os.path.abspath(name_for_process(name_file(pidfile, node), ""))

    def work(ready: Callable[[], None] | None = None) -> int:
        with pid_file(path):
            return run_worker(wishes, ready)

    if not detach:
        return work()
    if path:
        with pid_file(path):  # what is wrong with it is said at the terminal
            pass
    assert wishes.logfile is not None
    logfile = os.path.abspath(name_for_process(wishes.logfile, ""))
    return run_detached(work, node, logfile)


def _octal(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise ConfigError(f"--umask {text} is not an octal number; write it like 022") from None


def become(user: str | None, group: str | None) -> None:
    """Go on as this user and group (names or numbers), for good; without a group, in the user's own ones.

    Raises `ConfigError` if there is no such user, or if we may not.
    """
    if user is None and group is None:
        return
    try:
        if group is not None:
            gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        if user is not None:
            entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError as error:
        raise ConfigError(f"this machine has no such user or group: {error.args[0]}") from None
    try:
        if user is None:
            os.setgroups([gid])
            os.setgid(gid)
        elif (entry.pw_uid, entry.pw_gid if group is None else gid) != (os.getuid(), os.getgid()):
            gid = entry.pw_gid if group is None else gid
            # The user last: afterwards we may change nothing any more.
            os.initgroups(entry.pw_name, gid)
            os.setgid(gid)
            os.setuid(entry.pw_uid)
    except PermissionError:
        raise ConfigError(
            "--uid and --gid need to be started as root, who alone may become someone else; leave them out, or use sudo"
        ) from None


@contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """Hold this file, with our pid in it, within the block. One that a dead worker left is taken over.

    Who is alive is told by a lock on the file, which the kernel drops when its holder dies; a pid may be anyone's by now.
    Raises `ConfigError` if another worker holds it or it cannot be written.
    """
    if path is None:
        yield
        return
    fd = _locked(path)
    os.truncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    try:
        yield
    finally:
        Path(path).unlink(missing_ok=True)
        os.close(fd)


def _locked(path: str) -> int:
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"the pid file {path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(fd, 32).decode(errors="replace").strip()
            os.close(fd)
            raise ConfigError(
                f"the worker of the pid file {path} is running, as process {pid or '?'}: stop it first (kill {pid}), or "
                "name another file with --pidfile"
            ) from None
        if os.path.exists(path) and os.path.samestat(os.fstat(fd), os.stat(path)):
            return fd
        os.close(fd)  # its holder ended, and took the file away, between our open and our lock


def run_detached(work: Callable[[Callable[[], None]], int], describe: str, logfile: str) -> int:
    """Run `work` in the background, with a log file in place of a terminal, and wait here until it says that it is ready.

    `work` is given what to call when it is. Returns the exit status for the terminal: 0 if it is ready or still starting,
    1 if it ended instead, after showing what it wrote. Raises `ConfigError` for a log file that cannot be written.
    """
    log = Path(logfile)
    try:
        log.open("a").close()
    except OSError as error:
        raise ConfigError(f"the log file {logfile} cannot be written: {error.strerror}") from None
    before = log.stat().st_size
    news, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(news)
        os.setsid()  # no terminal, and its end is not ours
        if os.fork():  # not the leader of the session, so that no terminal can become ours again
            os._exit(0)
        _work_detached(work, tell, logfile)
    os.close(tell)
    os.waitpid(child, 0)
    with open(news, "rb", buffering=0) as pipe:
        patience = select.poll()
        patience.register(pipe, select.POLLIN)
        said = pipe.read(1) if patience.poll(_PATIENCE_S * 1000) else None
    if said == b"":
        written = log.read_bytes()[before:].decode(errors="replace").rstrip()
        print(written or f"Error: the worker ended without a word; its log is {logfile}", file=sys.stderr)
        return 1
    how = "Started" if said else "It is still starting:"
    print(f"{how} {describe} in the background; its log is {logfile}")
    return 0


def _work_detached(work: Callable[[Callable[[], None]], int], tell: int, logfile: str) -> None:
    """In the new process, which ends here; the pipe closes with it."""
    status = 1
    try:
        nowhere = os.open(os.devnull, os.O_RDONLY)
        log = os.open(logfile, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        for fd, standard in ((nowhere, 0), (log, 1), (log, 2)):
            os.dup2(fd, standard)
        os.close(nowhere)
        os.close(log)

        def ready() -> None:
            os.write(tell, _READY)
            os.close(tell)

        status = exit_status(lambda: work(ready))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
