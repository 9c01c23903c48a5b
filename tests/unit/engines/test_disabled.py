import pytest

from celeriac.engines.base import Record
from celeriac.engines.disabled import DisabledResults
from celeriac.exceptions import ResultError


def test_what_is_stored_is_dropped():
    store = DisabledResults()
    store.store([Record("id-1", b"{}")])
    store.forget(["id-1"])
    store.close()
    assert store.describe() == "disabled"


@pytest.mark.parametrize("ask", ["get", "watch"])
def test_who_asks_is_told_why_there_is_nothing_and_what_to_do(ask):
    asked = {"get": (["id-1"],), "watch": ("id-1", print)}
    with pytest.raises(ResultError, match=r"keeps no results .*name a store in result_backend"):
        getattr(DisabledResults(), ask)(*asked[ask])


@pytest.mark.parametrize("url", ["disabled", "disabled://"])
def test_an_app_may_do_without_results(make_app, url):
    app = make_app(backend=url)
    result = app.task(print, name="unit.job").delay(1)
    for ask in (result.get, result.ready, lambda: result.state):
        with pytest.raises(ResultError, match="keeps no results"):
            ask()
    result.forget()


def test_an_ignored_result_needs_no_store(make_app):
    app = make_app(backend="disabled")
    assert app.task(print, name="unit.job", ignore_result=True).delay(1).get() is None
