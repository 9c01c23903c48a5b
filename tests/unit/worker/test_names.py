import socket

import pytest

from celeriac.worker.names import name_file, name_for_process, node_name


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (None, "celery@box.example.org"),
        ("w1", "w1@box.example.org"),
        ("w1@%h", "w1@box.example.org"),
        ("w1@%n", "w1@box"),
        ("%n@%d", "box@example.org"),
    ],
)
def test_a_workers_name_is_completed_by_its_host(wanted, name, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "box.example.org")
    assert node_name(wanted) == name


@pytest.mark.parametrize(
    ("pattern", "file"),
    [
        ("/run/%n.pid", "/run/w1.pid"),
        ("%h/%d/%n", "box.example.org/example.org/w1"),
        ("%p.log", "w1@box.example.org.log"),
        ("%n%I.log", "w1%I.log"),
        ("100%", "100%"),
    ],
)
def test_a_file_is_named_after_its_worker(pattern, file):
    assert name_file(pattern, "w1@box.example.org") == file


@pytest.mark.parametrize(
    ("process", "file"),
    [("ForkPoolWorker-12", "w1-12.log 12"), ("MainProcess", "w1.log 0"), ("", "w1.log 0")],
)
def test_each_process_has_a_file_of_its_own_if_asked(process, file):
    assert name_for_process("w1%I.log %i", process) == file
