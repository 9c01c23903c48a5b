import os
import pickle
import sys
import types

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from celeriac.documents import Document, describe_exception, rebuild_exception
from celeriac.exceptions import EncodeError, RemoteError, RemoteTraceback, ResultError, TaskRevokedError


class OutOfStock(Exception):
    """An exception of the application's own."""


class Shop:
    class Closed(Exception):
        """A nested one."""


class TwoParts(Exception):
    """Takes other arguments than it keeps."""

    def __init__(self, sku, left):
        super().__init__(f"{sku}: {left}")


class Strict(Exception):
    """Cannot be made from what it keeps, not even without its __init__."""

    def __new__(cls, sku, *, left):
        return super().__new__(cls, sku)

    def __init__(self, sku, *, left):
        super().__init__(sku)


def back(error, traceback=None):
    """There and back, through the bytes."""
    document = Document("id-1", "FAILURE", describe_exception(error), traceback)
    return Document.decode("id-1", document.encode()).value()


# ── documents ──


def test_a_document_comes_back():
    document = Document(
        "id-1", "SUCCESS", {"a": [b"\xff"]}, None, "2026-01-02T03:04:05+00:00", [[["c", None], None]], "p"
    )
    assert Document.decode("id-1", document.encode()) == document


def test_parent_id_is_written_only_where_there_is_one():
    assert b"parent_id" not in Document("id-1", "SUCCESS").encode()


def test_a_result_that_cannot_be_written_is_refused():
    with pytest.raises(EncodeError):
        Document("id-1", "SUCCESS", object()).encode()


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"{}", b'{"status": 5}', b"\x80\x04}q"])
def test_what_is_no_document_is_refused_naming_the_task(raw):
    with pytest.raises(ResultError, match="id-1"):
        Document.decode("id-1", raw)


def test_a_document_without_children_has_none():
    assert Document.decode("id-1", b'{"status": "REVOKED", "children": null}').children == []


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ("SUCCESS", True),
        ("FAILURE", True),
        ("REVOKED", True),
        ("RETRY", False),
        ("STARTED", False),
        ("PROGRESS", False),
    ],
)
def test_a_document_is_ready_when_the_task_has_ended(status, ready):
    assert Document("id-1", status).ready is ready


def test_the_value_of_a_custom_state_is_its_meta():
    assert Document("id-1", "PROGRESS", {"done": 3}).value() == {"done": 3}


# ── exceptions ──


@pytest.mark.parametrize(
    "error",
    [
        ValueError("why"),
        KeyError(),
        OSError(2, "No such file", "a.txt"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        OutOfStock("SKU-1", 3),
        Shop.Closed("sunday"),
        TaskRevokedError("expired"),
    ],
    ids=lambda error: type(error).__qualname__,
)
def test_an_exception_comes_back_as_its_own_class_with_its_arguments(error):
    again = back(error)
    assert type(again) is type(error)
    assert again.args == error.args


def test_a_class_with_another_init_comes_back_as_itself():
    again = back(TwoParts("SKU-1", 3))
    assert type(again) is TwoParts
    assert again.args == ("SKU-1: 3",)


def test_a_class_that_cannot_be_made_is_a_remote_error_that_tells():
    again = back(Strict("SKU-1", left=3))
    assert type(again) is RemoteError
    assert str(again) == "Strict: SKU-1"


def test_a_class_that_is_not_loaded_becomes_a_remote_error_of_its_name():
    again = rebuild_exception({"exc_type": "Declined", "exc_message": ["card", 7], "exc_module": "shop.payment"})
    assert isinstance(again, RemoteError)
    assert (type(again).__name__, type(again).__module__) == ("Declined", "shop.payment")
    assert again.args == ("card", 7)


def test_reading_an_exception_imports_nothing():
    assert "this" not in sys.modules
    rebuild_exception({"exc_type": "Declined", "exc_message": [], "exc_module": "this"})
    assert "this" not in sys.modules


def test_reading_an_exception_runs_no_lazy_loader(monkeypatch):
    lazy = types.ModuleType("lazy_module")
    asked = []
    lazy.__getattr__ = lambda name: asked.append(name) or ValueError
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    assert isinstance(
        rebuild_exception({"exc_type": "Oops", "exc_message": [], "exc_module": "lazy_module"}), RemoteError
    )
    assert asked == []


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "eval"), ("builtins", "int"), ("subprocess", "Popen"), ("os", "path.join")],
)
def test_what_is_no_exception_is_not_called(module, name):
    again = rebuild_exception({"exc_type": name, "exc_message": ["true"], "exc_module": module})
    assert isinstance(again, RemoteError)
    assert again.args == ("true",)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_would_end_the_process_comes_back_as_a_remote_error(kind):
    again = back(kind(3))
    assert isinstance(again, RemoteError)
    assert type(again).__name__ == kind.__name__
    assert again.args == (3,)


def test_arguments_that_cannot_be_written_are_replaced_by_their_repr():
    assert back(ValueError("a", {1}, os)).args == ("a", "{1}", repr(os))


def test_a_long_repr_is_cut():
    assert len(back(ValueError(set(range(10_000)))).args[0]) == 1024


def test_an_argument_with_a_broken_repr_does_not_hide_the_exception():
    class Broken:
        def __repr__(self):
            raise RuntimeError

    again = back(ValueError(Broken()))
    assert type(again) is ValueError
    assert "repr raises RuntimeError" in again.args[0]


def test_the_remote_traceback_is_the_cause():
    again = back(ValueError("why"), "Traceback ...\nValueError: why\n")
    assert isinstance(again.__cause__, RemoteTraceback)
    assert "ValueError: why" in str(again.__cause__)


def test_without_a_traceback_there_is_no_cause():
    assert back(ValueError("why")).__cause__ is None


@pytest.mark.parametrize("described", [None, 5, "why", [], {}, {"exc_type": 5}, {"exc_message": "why"}])
def test_what_describes_no_exception_is_a_remote_error(described):
    again = rebuild_exception(described)
    assert type(again) is RemoteError
    assert again.args == (described,)


def test_a_message_that_is_no_list_is_the_only_argument():
    assert rebuild_exception({"exc_type": "ValueError", "exc_message": "why", "exc_module": "builtins"}).args == (
        "why",
    )


NAMES = st.sampled_from(["ValueError", "UnicodeDecodeError", "OSError", "__class__", "", ".", "a.b", "ExceptionGroup"])
VALUES = st.none() | st.text(st.characters()) | st.integers() | st.lists(st.integers() | st.text(), max_size=6)


@example("\ud800", [], "builtins")
@example("a\0b", [], "builtins")
@example("ValueError", [], "\ud800")
@given(NAMES | st.text(st.characters(), max_size=5), VALUES, st.sampled_from(["builtins", "os", "", "x"]) | VALUES)
def test_rebuilding_raises_nothing_whatever_is_stored(kind, message, module):
    again = rebuild_exception({"exc_type": kind, "exc_message": message, "exc_module": module})
    assert isinstance(again, Exception)


def test_a_rebuilt_exception_of_a_loaded_class_pickles():
    assert pickle.loads(pickle.dumps(back(OutOfStock("SKU-1", 3)))).args == ("SKU-1", 3)
