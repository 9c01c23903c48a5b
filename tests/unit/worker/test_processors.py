import os

import pytest

from celeriac.worker import processors
from celeriac.worker.processors import available_processors


@pytest.fixture(autouse=True)
def eight(monkeypatch):
    monkeypatch.setattr(processors, "_usable", lambda: 8)


@pytest.fixture
def machine(tmp_path):
    """Files of a machine: `machine({"proc/self/cgroup": "0::/app"})`."""

    def machine(files):
        for name, text in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return machine


def test_without_control_groups_all_that_may_be_used(tmp_path):
    assert available_processors(tmp_path) == 8


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("250000 100000\n", 3),
        ("50000 100000\n", 1),
        ("1600000 100000\n", 8),
        ("", 8),
        ("nonsense\n", 8),
        ("0 0\n", 8),
    ],
)
def test_a_quota_of_version_2(machine, cpu_max, expected):
    root = machine({"proc/self/cgroup": "0::/app.slice\n", "sys/fs/cgroup/app.slice/cpu.max": cpu_max})
    assert available_processors(root) == expected


def test_the_least_of_all_groups_above_counts(machine):
    root = machine(
        {
            "proc/self/cgroup": "0::/pod/container\n",
            "sys/fs/cgroup/pod/cpu.max": "300000 100000\n",
            "sys/fs/cgroup/pod/container/cpu.max": "max 100000\n",
        }
    )
    assert available_processors(root) == 3


def test_in_a_container_the_top_is_its_own_group_whatever_the_host_calls_it(machine):
    root = machine({"proc/self/cgroup": "0::/../../kubepods/pod7/c9\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"})
    assert available_processors(root) == 4


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("150000", 2)])
@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_a_quota_of_version_1(machine, mount, quota, expected):
    root = machine(
        {
            "proc/self/cgroup": "5:memory:/docker/c9\n4:cpu,cpuacct:/docker/c9\n",
            f"sys/fs/cgroup/{mount}/docker/c9/cpu.cfs_quota_us": f"{quota}\n",
            f"sys/fs/cgroup/{mount}/docker/c9/cpu.cfs_period_us": "100000\n",
        }
    )
    assert available_processors(root) == expected


def test_affinity_counts(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 3}, raising=False)
    assert available_processors(tmp_path) == 2


def test_python_has_the_last_word_where_it_has_one(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(os, "process_cpu_count", lambda: 5, raising=False)
    assert available_processors(tmp_path) == 5
