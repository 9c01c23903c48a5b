"""Whom a commit rings: the rows of those who wait for results."""

import threading

from celeriac.engines.base import EngineOptions, Record
from celeriac.engines.sqlite import open_results
from support.waiting import PATIENCE_S


def rows(results):
    with results.database.read() as connection:
        return {task_id for (task_id,) in connection.execute("SELECT task_id FROM result_waiters")}


def test_who_waits_no_more_is_forgotten_along_with_who_comes_next(tmp_path):
    results = open_results("sqlite:///store.db", EngineOptions(str(tmp_path)))
    with results.watch("a", lambda: None):
        assert rows(results) == {"a"}
    heard = threading.Event()
    with results.watch("b", heard.set):
        assert rows(results) == {"b"}
        with results.watch("a", heard.set):
            assert rows(results) == {"a", "b"}
            results.store([Record("a", b"{}")])
            assert heard.wait(PATIENCE_S)
    results.close()


def test_few_are_left_behind(tmp_path):
    results = open_results("sqlite:///store.db", EngineOptions(str(tmp_path)))
    watching = [results.watch(f"id-{number}", lambda: None) for number in range(200)]
    for one in watching:
        one.__enter__()
    for one in watching:
        one.__exit__(None, None, None)
    assert len(rows(results)) < 64
    results.close()
