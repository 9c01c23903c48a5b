import io
import logging
import sys
import threading

import pytest

from celeriac import signals
from celeriac.exceptions import ConfigError
from celeriac.utils.log import get_task_logger
from celeriac.worker import logs
from celeriac.worker.printing import print_to_log


@pytest.fixture
def root(monkeypatch):
    """The root logger, without handlers like the others of the worker; all is afterwards as it was."""
    loggers = [logging.getLogger(name) for name in (None, "celeriac", "celery.task")]
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers.clear()
    make = logging.getLogRecordFactory()
    yield loggers[0]
    logging.setLogRecordFactory(make)
    for logger, handlers, level, propagate in before:
        for handler in logger.handlers:
            handler.close()
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


def set_up(level, line_format, process_name, logfile=None, **more):
    settings = logs.LogSettings(level, line_format, "%(task_name)s[%(task_id)s] %(message)s", logfile, **more)
    log = logs.WorkerLog(settings)
    log.set_up(process_name)
    return log


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_have_the_format_and_the_process_of_the_settings(root, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", io.StringIO())
    set_up("INFO", "[%(levelname)s/%(processName)s] %(message)s", "ForkPoolWorker-1")
    logging.getLogger("celeriac.worker").info("Task %s received", "a")
    logging.getLogger("celeriac.worker").debug("not this")
    assert sys.__stderr__.getvalue() == "[INFO/ForkPoolWorker-1] Task a received\n"


def test_set_up_again_replaces_what_was_there(root, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", io.StringIO())
    for name in ("MainProcess", "ForkPoolWorker-1"):
        set_up("INFO", "%(processName)s %(message)s", name)
    logging.getLogger().info("once")
    assert sys.__stderr__.getvalue() == "ForkPoolWorker-1 once\n"


def test_a_log_file_is_appended_to(root, tmp_path):
    (tmp_path / "worker.log").write_text("before\n")
    set_up("INFO", "%(message)s", "MainProcess", str(tmp_path / "worker.log"))
    logging.getLogger().info("Zürich")
    assert (tmp_path / "worker.log").read_text(encoding="utf-8") == "before\nZürich\n"


@pytest.mark.parametrize(("level", "text"), [("ERROR", "\x1b[31mno\x1b[0m\n"), ("INFO", "no\n")])
def test_a_terminal_gets_colours(root, monkeypatch, level, text):
    monkeypatch.setattr(sys, "__stderr__", Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    set_up("INFO", "%(message)s", "MainProcess")
    logging.getLogger().log(logging.getLevelNamesMapping()[level], "no")
    assert sys.__stderr__.getvalue() == text


def test_no_color_is_respected(root, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    set_up("INFO", "%(message)s", "MainProcess")
    logging.getLogger().error("no")
    assert sys.__stderr__.getvalue() == "no\n"


def test_a_log_file_that_cannot_be_written_is_an_error_that_names_it(root, tmp_path):
    with pytest.raises(ConfigError, match=f"log file {tmp_path} cannot be written"):
        set_up("INFO", "%(message)s", "MainProcess", str(tmp_path))


def test_a_thread_that_runs_tasks_is_named_in_place_of_the_process(root, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", io.StringIO())
    set_up("INFO", "[%(levelname)s/%(processName)s] %(message)s", "ThreadPool")
    thread = threading.Thread(target=lambda: logging.getLogger().info("hello"), name=f"{logs.SLOT_THREAD}-2")
    thread.start()
    thread.join()
    logging.getLogger().info("hello")
    assert sys.__stderr__.getvalue() == "[INFO/ThreadPoolWorker-2] hello\n[INFO/ThreadPool] hello\n"


def test_lines_of_several_threads_do_not_mix(root, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", io.StringIO())
    set_up("INFO", "%(message)s", "ThreadPool")
    with print_to_log("INFO"):
        print("one ", end="")
        thread = threading.Thread(target=print, args=("two",))
        thread.start()
        thread.join()
        print("line")
        print("rest", end="")
    assert sys.__stderr__.getvalue() == "two\none line\nrest\n"


@pytest.mark.parametrize(("wanted", "text"), [(True, "\x1b[31mno\x1b[0m\n"), (False, "no\n")])
@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_setting_for_colours_holds_wherever_the_log_goes(root, monkeypatch, stream, wanted, text):
    monkeypatch.setattr(sys, "__stderr__", stream())
    monkeypatch.delenv("NO_COLOR", raising=False)
    set_up("INFO", "%(message)s", "MainProcess", colour=wanted)
    logging.getLogger().error("no")
    assert sys.__stderr__.getvalue() == text


def test_no_color_wins_over_the_setting(root, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    set_up("INFO", "%(message)s", "MainProcess", colour=True)
    logging.getLogger().error("no")
    assert sys.__stderr__.getvalue() == "no\n"


def test_a_log_file_has_no_colours(root, monkeypatch, tmp_path):
    monkeypatch.delenv("NO_COLOR", raising=False)
    set_up("INFO", "%(message)s", "MainProcess", str(tmp_path / "log"), colour=True)
    logging.getLogger().error("no")
    assert (tmp_path / "log").read_text() == "no\n"


def test_the_date_formats_hold_for_their_lines(root, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", io.StringIO())
    settings = logs.LogSettings(
        "INFO", "%(asctime)s %(message)s", "%(asctime)s %(message)s", date_format="D", task_date_format="T"
    )
    logs.WorkerLog(settings).set_up("MainProcess")
    logging.getLogger().info("worker")
    get_task_logger("tests.logs.dates").info("task")
    assert sys.__stderr__.getvalue() == "D worker\nT task\n"


def test_the_line_of_a_task_logger_outside_of_a_run_names_no_task_and_comes_once(root, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", io.StringIO())
    set_up("INFO", "worker: %(message)s", "MainProcess")
    get_task_logger("tests.logs.outside").info("hello")
    assert sys.__stderr__.getvalue() == "???[???] hello\n"


def test_a_root_logger_that_is_not_ours_keeps_its_handlers_and_its_level_and_gets_the_workers_lines(root, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", io.StringIO())
    theirs = io.StringIO()
    root.addHandler(logging.StreamHandler(theirs))
    root.setLevel("ERROR")
    set_up("INFO", "ours: %(message)s", "MainProcess", take_root=False)
    assert root.level == logging.ERROR
    logging.getLogger("celeriac.worker").info("ready")
    get_task_logger("tests.logs.theirs").info("hello")
    assert theirs.getvalue() == "ready\n"
    assert sys.__stderr__.getvalue() == "???[???] hello\n"


def test_without_anyones_handlers_the_workers_lines_are_seen_though_the_root_logger_is_not_ours(root, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", io.StringIO())
    root.handlers.clear()  # pytest's
    set_up("INFO", "ours: %(message)s", "MainProcess", take_root=False)
    logging.getLogger("celeriac.worker").info("ready")
    assert sys.__stderr__.getvalue() == "ours: ready\n"
    assert root.handlers == []


@pytest.fixture
def connect():
    """Connect a receiver for the length of the test."""
    connected = []

    def connect(signal, receiver):
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


def test_receivers_of_setup_logging_leave_everything_to_them(root, connect, capsys):
    seen = []
    connect(signals.setup_logging, lambda **facts: seen.append(facts))
    connect(signals.after_setup_logger, lambda **facts: seen.append(facts))
    root.handlers.clear()  # pytest's
    log = set_up("INFO", "%(message)s", "MainProcess")
    (facts,) = seen
    del facts["signal"]
    assert facts == {
        "sender": None,
        "loglevel": logging.INFO,
        "logfile": None,
        "format": "%(message)s",
        "colorize": facts["colorize"],
    }
    assert root.handlers == []
    with log.prints("WARNING"):
        print("plain")
    assert capsys.readouterr().out == "plain\n"


def test_when_the_receiver_of_setup_logging_raises_the_log_is_set_up_as_usual(root, connect):
    connect(signals.setup_logging, lambda **_: 1 / 0)
    set_up("INFO", "%(message)s", "MainProcess")
    assert len(root.handlers) == 1


def test_receivers_may_add_to_what_was_set_up(root, connect):
    seen = []
    connect(
        signals.after_setup_logger, lambda logger, **more: seen.append((logger, more["format"], logger.handlers[-1:]))
    )
    connect(signals.after_setup_task_logger, lambda logger, loglevel, **_: seen.append((logger, loglevel)))
    set_up("INFO", "%(message)s", "MainProcess")
    assert seen == [(root, "%(message)s", root.handlers[-1:]), (logging.getLogger("celery.task"), logging.INFO)]


def test_a_forked_process_is_named_in_lines_of_anyones_handlers(root, monkeypatch):
    monkeypatch.setattr(sys, "__stderr__", io.StringIO())
    log = set_up("INFO", "%(processName)s", "MainProcess")
    theirs = logging.StreamHandler(stream := io.StringIO())
    theirs.setFormatter(logging.Formatter("%(processName)s"))
    root.addHandler(theirs)
    log.name_process("ForkPoolWorker-2")
    logging.getLogger().info("hello")
    assert (sys.__stderr__.getvalue(), stream.getvalue()) == ("ForkPoolWorker-2\n", "ForkPoolWorker-2\n")


def test_a_forked_process_begins_a_file_of_its_own_where_the_name_says_so(root, tmp_path):
    log = set_up("INFO", "%(message)s", "MainProcess", str(tmp_path / "log%I"))
    log.name_process("ForkPoolWorker-2")
    logging.getLogger().info("hello")
    assert (tmp_path / "log").read_text() == ""
    assert (tmp_path / "log-2").read_text() == "hello\n"
