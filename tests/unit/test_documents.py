import os
import pickle
import sys
import types

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from celeriac import serialization
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


EXTENDED = Document(
    "id-1",
    "SUCCESS",
    5,
    group_id="g",
    name="a.b",
    args=[1],
    kwargs={"k": b"2"},
    worker="celery@host",
    retries=0,
    queue="celery",
)
ANY_TYPE = frozenset(serialization.CONTENT_TYPES.values())


@pytest.mark.parametrize("compression", [None, "zlib", "bzip2", "lzma", "brotli", "zstd"])
@pytest.mark.parametrize("serializer", ["json", "yaml", "msgpack", "pickle"])
def test_a_document_comes_back_from_every_serializer_and_compression(serializer, compression):
    raw = EXTENDED.encode(serializer, compression)
    assert Document.decode("id-1", raw, serializer, ANY_TYPE) == EXTENDED


def test_extended_fields_are_written_only_where_there_is_a_name():
    written = serialization.loads(Document("id-1", "SUCCESS", args=[1], worker="w").encode())
    assert set(written) == {"status", "result", "traceback", "children", "date_done", "task_id"}


def test_a_pickled_result_keeps_its_type():
    raw = Document("id-1", "SUCCESS", (1, {2})).encode("pickle")
    assert Document.decode("id-1", raw, "pickle", ANY_TYPE).value() == (1, {2})


def test_a_result_of_a_type_that_is_not_accepted_is_not_read(tmp_path):
    class Mine:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    raw = pickle.dumps({"status": "SUCCESS", "result": Mine()})
    with pytest.raises(ResultError, match=r"result of id-1 is not read: result_serializer is 'pickle'"):
        Document.decode("id-1", raw, "pickle")
    assert not (tmp_path / "sprung").exists()


def test_a_document_is_read_by_the_serializer_that_is_set_and_no_other():
    with pytest.raises(ResultError, match="not JSON"):
        Document.decode("id-1", Document("id-1", "SUCCESS").encode("pickle"))


def test_a_compressed_document_is_read_whatever_the_reader_compresses_by():
    raw = Document("id-1", "SUCCESS", 5).encode(compression="zlib")
    assert raw.startswith(b"\0celery-compressed\0application/x-gzip\0")
    assert Document.decode("id-1", raw).value() == 5


@pytest.mark.parametrize(
    "rest", [b"", b"application/x-gzip", b"application/x-gzip\0{}", b"application/x-none\0", b"\xff\0"]
)
def test_a_document_that_cannot_be_decompressed_is_refused_naming_the_task(rest):
    with pytest.raises(ResultError, match="id-1"):
        Document.decode("id-1", b"\0celery-compressed\0" + rest)


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


class WithoutArguments(Exception):
    """As pydantic's `ValidationError`: no arguments, and not to be made by calling it."""

    def __new__(cls, *args):
        raise TypeError("no constructor")

    def __str__(self):
        return "2 errors"


class Silent(Exception):
    def __str__(self):
        return "says so itself"


def test_an_exception_that_keeps_no_arguments_is_told_by_its_text():
    described = describe_exception(Exception.__new__(WithoutArguments))
    assert described["exc_message"] == ["2 errors"]
    assert str(rebuild_exception(described)) == "WithoutArguments: 2 errors"


def test_an_exception_that_needs_no_arguments_gets_none():
    assert describe_exception(Silent())["exc_message"] == []


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


# ── exceptions by pickle ──


def pickled(error, traceback=None):
    """There and back by pickle; the description and the exception that a caller sees."""
    described = describe_exception(error, "pickle")
    raw = Document("id-1", "FAILURE", described, traceback).encode("pickle")
    return described, Document.decode("id-1", raw, "pickle", ANY_TYPE).value()


def test_a_pickled_exception_is_stored_as_itself():
    error = OutOfStock("SKU-1", 3)
    error.warehouse = "Graz"
    described, again = pickled(error, "Traceback ...")
    assert described is error
    assert (type(again), again.args, again.warehouse) == (OutOfStock, ("SKU-1", 3), "Graz")
    assert isinstance(again.__cause__, RemoteTraceback)


@pytest.mark.parametrize("error", [TwoParts("SKU-1", 3), OutOfStock(lambda: 3), OutOfStock(TwoParts("SKU-1", 3))])
def test_an_exception_that_does_not_pickle_is_stored_as_data(error):
    described, again = pickled(error)
    assert described["exc_type"] == type(error).__qualname__
    assert type(again) is type(error)


def test_our_own_exceptions_are_pickled_as_data_under_celerys_names():
    described, again = pickled(TaskRevokedError("expired"))
    assert described == {
        "exc_type": "TaskRevokedError",
        "exc_message": ["expired"],
        "exc_module": "celery.exceptions",
    }
    assert type(again) is TaskRevokedError


def test_a_pickled_exception_that_would_end_the_process_comes_back_as_a_remote_error():
    _, again = pickled(SystemExit(3))
    assert isinstance(again, RemoteError)
    assert (type(again).__name__, again.args) == ("SystemExit", (3,))


@pytest.mark.parametrize("serializer", ["yaml", "msgpack"])
def test_arguments_that_another_serializer_cannot_write_are_replaced_by_their_repr(serializer):
    described = describe_exception(ValueError("a", 1j), serializer)
    raw = Document("id-1", "FAILURE", described).encode(serializer)
    assert Document.decode("id-1", raw, serializer, ANY_TYPE).value().args == ("a", "1j")


def test_a_rebuilt_exception_of_a_loaded_class_pickles():
    assert pickle.loads(pickle.dumps(back(OutOfStock("SKU-1", 3)))).args == ("SKU-1", 3)
