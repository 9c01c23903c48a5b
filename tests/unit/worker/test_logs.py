import io
import logging
import sys

import pytest

from celeriac.exceptions import ConfigError
from celeriac.worker import logs


@pytest.fixture
def root(monkeypatch):
    """The root logger with no handlers, as it was afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    for handler in handlers:
        root.removeHandler(handler)
    yield root
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_have_the_format_and_the_process_of_the_settings(root, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", io.StringIO())
    logs.set_up("INFO", "[%(levelname)s/%(processName)s] %(message)s", "ForkPoolWorker-1")
    logging.getLogger("celeriac.worker").info("Task %s received", "a")
    logging.getLogger("celeriac.worker").debug("not this")
    assert sys.__stderr__.getvalue() == "[INFO/ForkPoolWorker-1] Task a received\n"


def test_set_up_again_replaces_what_was_there(root, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", io.StringIO())
    for name in ("MainProcess", "ForkPoolWorker-1"):
        logs.set_up("INFO", "%(processName)s %(message)s", name)
    logging.getLogger().info("once")
    assert sys.__stderr__.getvalue() == "ForkPoolWorker-1 once\n"


def test_a_log_file_is_appended_to(root, tmp_path):
    (tmp_path / "worker.log").write_text("before\n")
    logs.set_up("INFO", "%(message)s", "MainProcess", str(tmp_path / "worker.log"))
    logging.getLogger().info("Zürich")
    assert (tmp_path / "worker.log").read_text(encoding="utf-8") == "before\nZürich\n"


@pytest.mark.parametrize(("level", "text"), [("ERROR", "\x1b[31mno\x1b[0m\n"), ("INFO", "no\n")])
def test_a_terminal_gets_colours(root, monkeypatch, level, text):
    monkeypatch.setattr(sys, "__stderr__", Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    logs.set_up("INFO", "%(message)s", "MainProcess")
    logging.getLogger().log(logging.getLevelNamesMapping()[level], "no")
    assert sys.__stderr__.getvalue() == text


def test_no_color_is_respected(root, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    logs.set_up("INFO", "%(message)s", "MainProcess")
    logging.getLogger().error("no")
    assert sys.__stderr__.getvalue() == "no\n"


def test_print_goes_to_the_log_line_by_line(caplog):
    with logs.print_to_log("WARNING"):
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
    with logs.print_to_log("WARNING"):
        print("no newline", end="", flush=True)
    assert caplog.messages == ["no newline"]


def test_percent_signs_are_text(caplog):
    with logs.print_to_log("WARNING"):
        print("100 %s %d")
    assert caplog.messages == ["100 %s %d"]


def test_streams_are_put_back_whatever_happens():
    before = sys.stdout, sys.stderr
    with pytest.raises(ValueError, match="why"), logs.print_to_log("WARNING"):
        raise ValueError("why")
    assert (sys.stdout, sys.stderr) == before


def test_without_a_level_print_stays_as_it_is(capsys):
    with logs.print_to_log(None):
        print("plain")
    assert capsys.readouterr().out == "plain\n"


def test_the_stream_is_a_text_stream():
    with logs.print_to_log("WARNING"):
        stream = sys.stdout
        assert stream.writable()
        assert not stream.isatty()
        with pytest.raises(OSError, match="no file descriptor"):
            stream.fileno()


def test_a_log_file_that_cannot_be_written_is_an_error_that_names_it(root, tmp_path):
    with pytest.raises(ConfigError, match=f"log file {tmp_path} cannot be written"):
        logs.set_up("INFO", "%(message)s", "MainProcess", str(tmp_path))
