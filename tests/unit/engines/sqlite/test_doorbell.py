import os
import threading
import time

import pytest

from celeriac.engines.sqlite.doorbell import Doorbell, ring, sweep


@pytest.fixture
def bell(tmp_path):
    bell = Doorbell(tmp_path)
    yield bell
    bell.close()


def test_a_bell_that_nobody_rings_times_out(bell):
    assert bell.wait(0) == []


def test_a_ring_ends_the_wait_and_brings_its_line(bell, tmp_path):
    thread = threading.Thread(target=ring, args=(tmp_path, bell.address, "id-1"))
    thread.start()
    assert bell.wait(30) == ["id-1"]
    thread.join()


def test_a_ring_before_the_wait_is_not_lost(bell, tmp_path):
    assert ring(tmp_path, bell.address)
    assert bell.wait(30) == ["!"]
    assert bell.wait(0) == []


def test_several_rings_are_heard_at_once(bell, tmp_path):
    for number in range(100):
        ring(tmp_path, bell.address, f"id-{number}")
    assert bell.wait(30) == [f"id-{number}" for number in range(100)]


def test_wake_ends_the_wait(bell):
    bell.wake()
    assert bell.wait(30) == ["!"]


def test_a_full_pipe_blocks_no_ringer_and_says_that_rings_may_be_lost(bell, tmp_path):
    for number in range(3000):
        assert ring(tmp_path, bell.address, f"id-{number:032}")
    bell.wake()
    assert bell.wait(30) is None


def test_the_pipe_is_for_its_owner_alone(bell):
    assert os.stat(bell.path).st_mode & 0o777 == 0o600


def test_ringing_at_a_bell_that_was_taken_down_says_so(bell, tmp_path):
    bell.close()
    assert not ring(tmp_path, bell.address)


def test_ringing_at_a_dead_owners_bell_removes_it(tmp_path):
    path = tmp_path / "celeriac-1.bell"
    os.mkfifo(path)
    assert not ring(tmp_path, path.name)
    assert not path.exists()


def test_closing_removes_the_pipe_and_may_be_repeated(bell):
    bell.close()
    bell.close()
    assert not os.path.exists(bell.path)
    bell.wake()
    assert bell.wait(30) == []


def test_a_bell_that_is_forgotten_takes_itself_down(tmp_path):
    bell = Doorbell(tmp_path)
    os.close(bell._fd)
    bell._fd = None
    path = bell.path
    del bell
    assert not os.path.exists(path)


def test_the_folder_is_made(tmp_path):
    bell = Doorbell(tmp_path / "a" / "b")
    assert os.path.dirname(bell.path) == str(tmp_path / "a" / "b")
    bell.close()


def test_a_folder_that_can_hold_no_pipe_is_replaced_by_the_temporary_one(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    other = tmp_path / "tmp"
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(other))
    bell = Doorbell(tmp_path / "file")
    assert os.path.dirname(bell.path) == str(other)
    assert ring(tmp_path / "file", bell.address)
    bell.close()


def test_a_bell_is_rung_in_a_folder_that_has_another_path_here(bell, tmp_path):
    assert bell.address == os.path.basename(bell.path)
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    assert ring(tmp_path / "elsewhere", bell.address, "id-1")
    assert bell.wait(30) == ["id-1"]


def make_old(path):
    os.utime(path, (time.time() - 120, time.time() - 120))


def test_sweep_removes_the_bells_of_the_killed_and_no_others(tmp_path, bell):
    dead, new, other = tmp_path / "celeriac-dead.bell", tmp_path / "celeriac-new.bell", tmp_path / "other.bell"
    for path in (dead, new, other):
        os.mkfifo(path)
    for path in (dead, other, bell.path):
        make_old(path)
    sweep(tmp_path)
    assert not dead.exists()
    assert new.exists()
    assert other.exists()
    assert os.path.exists(bell.path)


def test_sweep_of_a_missing_folder_does_nothing(tmp_path):
    sweep(tmp_path / "missing")


@pytest.mark.parametrize("end", [Doorbell.abandon, lambda bell: bell._take_down()], ids=["abandoned", "exit"])
def test_a_forked_child_does_not_take_its_parents_bell_down(bell, fork, end, tmp_path):
    fork(lambda: end(bell))
    assert ring(tmp_path, bell.address, "id-1")
    assert bell.wait(30) == ["id-1"]
