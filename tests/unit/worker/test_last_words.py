import os
import signal
import sysconfig
import textwrap
import time
from pathlib import Path

import pytest

import celeriac
from celeriac.worker.last_words import LastWords, leave_last_words, without_our_frames

_OURS = Path(celeriac.__file__).parent
_STDLIB = sysconfig.get_path("stdlib")


@pytest.fixture
def words():
    words = LastWords()
    yield words
    words.close()


def abort():
    os.abort()


def test_a_child_that_aborts_leaves_its_stack(words, fork):
    def work():
        leave_last_words(words.fd)
        abort()

    with pytest.raises(AssertionError):
        fork(work)
    assert words.read().startswith("Fatal Python error: Aborted\n")
    assert words.read().splitlines()[2].endswith(" in abort")


def test_a_child_that_is_asked_leaves_its_stack_and_lives(words, fork):
    child = fork(lambda: leave_last_words(words.fd), stay=True)
    assert words.read() == ""
    words.ask(child.pid)
    assert "conftest.py" in words.read()  # where it is paused
    os.kill(child.pid, 0)


def test_a_child_that_cannot_answer_is_not_waited_for(words, fork):
    child = fork(lambda: leave_last_words(words.fd), stay=True)
    os.kill(child.pid, signal.SIGSTOP)
    began = time.monotonic()
    words.ask(child.pid)
    assert time.monotonic() - began < 5
    assert words.read() == ""
    os.kill(child.pid, signal.SIGCONT)


def test_a_child_that_is_gone_is_not_asked(words):
    words.ask(2**22 - 1)
    assert words.read() == ""


def test_what_is_left_is_bounded(words):
    stack = "Current thread 0x1 (most recent call first):\n" + '  File "/t.py", line 1 in f\n' * 10_000
    os.write(words.fd, stack.encode())
    assert len(words.read()) == 3000


def test_what_runs_the_tasks_is_left_out():
    dump = f"""
    Fatal Python error: Segmentation fault

    Thread 0x0001 (most recent call first):
      File "{_OURS}/worker/courier.py", line 5 in wait
      File "{_STDLIB}/threading.py", line 5 in _bootstrap

    Current thread 0x0002 (most recent call first):
      File "{_STDLIB}/ctypes/__init__.py", line 519 in string_at
      File "/project/tasks.py", line 7 in crash
      File "{_STDLIB}/site-packages/library.py", line 3 in call
      File "{_OURS}/execution/run.py", line 9 in execute
      File "{_STDLIB}/threading.py", line 9 in run
      File "{_OURS}/worker/template.py", line 9 in _be_child
      File "{_STDLIB}/site-packages/click/core.py", line 9 in main
      File "/usr/bin/celeriac", line 5 in <module>

    Extension modules: hiredis.hiredis (total: 1)
    """
    assert without_our_frames(textwrap.dedent(dump)) == textwrap.dedent(f"""\
        Fatal Python error: Segmentation fault
        Current thread 0x0002 (most recent call first):
          File "{_STDLIB}/ctypes/__init__.py", line 519 in string_at
          File "/project/tasks.py", line 7 in crash
          File "{_STDLIB}/site-packages/library.py", line 3 in call""")


def test_nothing_is_made_of_nothing():
    assert without_our_frames("") == ""
