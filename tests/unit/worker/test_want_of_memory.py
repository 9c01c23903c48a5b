import pytest

from celeriac.worker.want_of_memory import OomKills

VERSIONS = {
    "2": (
        "0::/system.slice/worker.service\n",
        "system.slice/worker.service/memory.events",
        "low 0\noom 5\noom_kill {}\n",
    ),
    "2, in a container": ("0::/../../other\n", "memory.events", "oom_kill {}\noom_group_kill 0\n"),
    "1": (
        "12:cpu,cpuacct:/x\n5:memory:/docker/abc\n0::/\n",
        "memory/docker/abc/memory.oom_control",
        "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n",
    ),
    "1, in a container": ("5:memory:/docker/abc\n", "memory/memory.oom_control", "oom_kill {}\n"),
    "both": ("5:memory:/x\n0::/y\n", "memory/x/memory.oom_control", "oom_kill {}\n"),
}


@pytest.fixture
def machine(tmp_path):
    """A root folder with the files of a version; returns what sets the counter."""

    def machine(version):
        cgroups, counter, text = VERSIONS[version]
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(cgroups)
        file = tmp_path / "sys/fs/cgroup" / counter
        file.parent.mkdir(parents=True)
        return lambda count: file.write_text(text.format(count))

    return machine


@pytest.mark.parametrize("version", list(VERSIONS))
def test_a_kill_is_told_by_the_counter(machine, tmp_path, version):
    count = machine(version)
    count(7)
    kills = OomKills(tmp_path)
    assert not kills.explains_one()
    count(8)
    assert kills.explains_one()
    assert not kills.explains_one()


def test_two_that_die_together_are_each_explained(machine, tmp_path):
    count = machine("2")
    count(0)
    kills = OomKills(tmp_path)
    count(2)
    assert [kills.explains_one() for _ in range(3)] == [True, True, False]


def test_without_counters_nothing_is_said(tmp_path):
    assert not OomKills(tmp_path).explains_one()


def test_a_counter_that_goes_away_says_nothing(machine, tmp_path):
    count = machine("2")
    count(5)
    kills = OomKills(tmp_path)
    (tmp_path / "sys/fs/cgroup/system.slice/worker.service/memory.events").unlink()
    assert not kills.explains_one()
