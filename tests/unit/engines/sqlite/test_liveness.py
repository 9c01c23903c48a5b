import os
import shutil
import time

import pytest

from celeriac.engines.sqlite.liveness import NodeLocks


@pytest.fixture
def locks(tmp_path):
    locks = NodeLocks(lambda: tmp_path / "nodes")
    yield locks
    for node_id in list(locks._held):
        locks.release(node_id)


@pytest.fixture
def others(tmp_path):
    """Another process's view."""
    return NodeLocks(lambda: tmp_path / "nodes")


def test_a_node_nobody_knows_is_dead(locks):
    assert not locks.alive("node-1")


def test_a_node_lives_while_its_lock_is_held(locks, others):
    locks.hold("node-1")
    assert others.alive("node-1")
    assert not others.alive("node-2")


def test_asking_does_not_change_the_answer(locks, others):
    locks.hold("node-1")
    assert [others.alive("node-1") for _ in range(3)] == [True] * 3
    assert locks.alive("node-1")


def test_a_released_node_is_dead_and_leaves_no_file(locks, others, tmp_path):
    locks.hold("node-1")
    locks.release("node-1")
    locks.release("node-1")
    assert not others.alive("node-1")
    assert list((tmp_path / "nodes").iterdir()) == []


def test_holding_twice_is_holding(locks, others):
    locks.hold("node-1")
    locks.hold("node-1")
    locks.release("node-1")
    assert not others.alive("node-1")


def test_holding_again_after_the_folder_was_deleted_is_holding(locks, others, tmp_path):
    locks.hold("node-1")
    shutil.rmtree(tmp_path / "nodes")
    assert not others.alive("node-1")
    locks.hold("node-1")
    assert others.alive("node-1")


@pytest.mark.parametrize("keep", [NodeLocks.hold, NodeLocks.keep])
def test_holding_again_after_the_folder_was_moved_is_holding(locks, others, tmp_path, keep):
    locks.hold("node-1")
    shutil.move(tmp_path / "nodes", tmp_path / "moved")
    assert not others.alive("node-1")
    keep(locks, "node-1")
    assert others.alive("node-1")


def test_nothing_is_kept_that_is_not_held(locks, others):
    locks.keep("node-1")
    assert not others.alive("node-1")


def test_the_lock_file_is_for_its_owner_alone(locks, tmp_path):
    locks.hold("node-1")
    assert os.stat(tmp_path / "nodes" / "node-1.node").st_mode & 0o777 == 0o600


def test_a_file_that_was_left_behind_does_not_live(others, locks, tmp_path):
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "node-1.node").touch()
    assert not others.alive("node-1")
    others.forget("node-1")
    others.forget("node-1")
    assert list((tmp_path / "nodes").iterdir()) == []


def test_sweep_removes_the_locks_of_the_killed_and_no_others(locks, others, tmp_path):
    locks.hold("alive")
    for name in ("dead", "new"):
        (tmp_path / "nodes" / f"{name}.node").touch()
    for name in ("dead", "alive"):
        os.utime(tmp_path / "nodes" / f"{name}.node", (time.time() - 120, time.time() - 120))
    others.sweep()
    assert sorted(path.stem for path in (tmp_path / "nodes").iterdir()) == ["alive", "new"]


def test_sweep_of_a_missing_folder_does_nothing(locks):
    locks.sweep()


def test_nobody_is_dead_whose_lock_cannot_be_looked_at(locks, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("celeriac.engines.sqlite.liveness.os.open", refuse)
    assert locks.alive("node-1")


def test_a_killed_process_is_dead_at_once(locks, others, fork):
    child = fork(lambda: locks.hold("node-1"), stay=True)
    assert others.alive("node-1")
    child.kill()
    assert not others.alive("node-1")


def test_a_forked_child_does_not_keep_its_parents_node_alive(locks, others, fork):
    locks.hold("node-1")
    fork(locks.abandon, stay=True)
    assert others.alive("node-1")
    locks.release("node-1")
    assert not others.alive("node-1")
