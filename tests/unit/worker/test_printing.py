import itertools
import sys
from types import SimpleNamespace

import pytest

from celeriac.worker.printing import print_to_log


def test_print_goes_to_the_log_line_by_line(caplog):
    with print_to_log("WARNING"):
        print("Adding 4 + 4...")
        print("two\nlines", end="")
        print(" and more", file=sys.stderr)
        print()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "Adding 4 + 4..."),
        ("WARNING", "two"),
        ("WARNING", "lines and more"),
    ]


def test_a_line_without_an_end_is_not_lost(caplog):
    with print_to_log("WARNING"):
        print("no newline", end="", flush=True)
    assert caplog.messages == ["no newline"]


def test_a_line_that_never_ends_goes_in_pieces(caplog):
    with print_to_log("WARNING"):
        for _ in range(100):
            print("." * 1000, end="")
        assert len(caplog.messages) == 1
    assert sum(len(message) for message in caplog.messages) == 100_000


def test_lines_begun_by_threads_that_have_ended_do_not_pile_up(caplog, monkeypatch):
    numbers = itertools.count()
    monkeypatch.setattr("celeriac.worker.printing.threading", SimpleNamespace(get_ident=lambda: next(numbers)))
    with print_to_log("WARNING"):
        for number in range(1200):
            sys.stdout.write(f"from {number}")
        assert caplog.messages == [f"from {number}" for number in range(200)]


def test_percent_signs_are_text(caplog):
    with print_to_log("WARNING"):
        print("100 %s %d")
    assert caplog.messages == ["100 %s %d"]


def test_streams_are_put_back_whatever_happens():
    before = sys.stdout, sys.stderr
    with pytest.raises(ValueError, match="why"), print_to_log("WARNING"):
        raise ValueError("why")
    assert (sys.stdout, sys.stderr) == before


def test_without_a_level_print_stays_as_it_is(capsys):
    with print_to_log(None):
        print("plain")
    assert capsys.readouterr().out == "plain\n"


def test_the_stream_is_a_text_stream():
    with print_to_log("WARNING"):
        stream = sys.stdout
        assert stream.writable()
        assert not stream.isatty()
        with pytest.raises(OSError, match="no file descriptor"):
            stream.fileno()
