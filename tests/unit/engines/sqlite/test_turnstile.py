"""Writers take turns."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from celeriac.engines.sqlite import turnstile
from celeriac.engines.sqlite.turnstile import Turnstile
from support.waiting import until


def soon() -> float:
    return time.monotonic() + 30.0


def is_locked(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store.db-turns"


def test_who_has_had_a_turn_is_not_first_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "_LONGEST_WAIT_S", 30.0)
    first, second = Turnstile(folder), Turnstile(folder)
    turns = []

    def take_a_turn() -> None:
        second.enter(soon())
        turns.append("second")
        second.leave()

    first.enter(soon())
    turns.append("first")
    waiting = threading.Thread(target=take_a_turn)
    waiting.start()
    until(lambda: is_locked(folder / "door"), "the second waits")
    first.leave()
    first.enter(soon())
    turns.append("first again")
    waiting.join()
    assert turns == ["first", "second", "first again"]


def test_two_have_no_turn_at_once(folder: Path) -> None:
    ways_in = [Turnstile(folder) for _ in range(4)]
    inside, most = [0], [0]

    def take_turns(way_in: Turnstile) -> None:
        for _ in range(50):
            way_in.enter(soon())
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            inside[0] -= 1
            way_in.leave()

    threads = [threading.Thread(target=take_turns, args=(way_in,)) for way_in in ways_in]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


@pytest.mark.parametrize("stopped_with", ["door", "turn"])
def test_one_who_was_stopped_in_front_does_not_keep_the_others(
    folder: Path, stopped_with: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turnstile, "_LONGEST_WAIT_S", 0.05)
    way_in = Turnstile(folder)
    fd = os.open(folder / stopped_with, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    way_in.enter(soon())
    way_in.leave()
    os.close(fd)
    assert not is_locked(folder / "door")
    assert not is_locked(folder / "turn")


def test_nobody_waits_beyond_the_deadline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "_LONGEST_WAIT_S", 3600.0)
    first, second = Turnstile(folder), Turnstile(folder)
    first.enter(soon())
    second.enter(time.monotonic() - 1.0)


def test_a_turn_ends_with_who_has_it(folder: Path) -> None:
    first = Turnstile(folder)
    first.enter(soon())
    assert is_locked(folder / "turn")
    del first
    assert not is_locked(folder / "turn")


def test_where_no_lock_can_be_made_writers_go_on_without(tmp_path: Path) -> None:
    (tmp_path / "in the way").touch()
    way_in = Turnstile(tmp_path / "in the way")
    way_in.enter(soon())
    way_in.leave()
