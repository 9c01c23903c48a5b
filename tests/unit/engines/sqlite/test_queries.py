import sqlite3
from importlib.resources import files

import pytest

from celeriac.engines.sqlite.queries import schema, statements

FILES = ["claim", "inspect", "publish", "recover", "results", "revoke", "settle", "waiting"]


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:")
    connection.executescript("".join(schema()))
    yield connection
    connection.close()


def test_every_file_is_one_of_these():
    folder = files("celeriac.engines.sqlite") / "sql"
    found = {path.name for path in folder.iterdir() if path.name.endswith(".sql")}
    assert found == {"schema.sql", *(f"{name}.sql" for name in FILES)}


@pytest.mark.parametrize("file", FILES)
def test_every_statement_fits_the_schema(connection, file):
    found = statements(file)
    assert found
    for name, text in found.items():
        placeholders = [None] * text.count("?")
        assert connection.execute(f"EXPLAIN {text}", placeholders).fetchall(), name


@pytest.mark.parametrize("file", FILES)
def test_a_statement_is_without_comments_above_it_and_the_semicolon(file):
    for text in statements(file).values():
        assert not text.startswith("--")
        assert not text.endswith(";")
        assert sqlite3.complete_statement(f"{text};")


HOT = [
    ("claim", "next"),
    ("claim", "take"),
    ("claim", "raw"),
    ("claim", "next_due"),
    ("claim", "due"),
    ("claim", "waiting"),
    ("settle", "lease"),
    ("settle", "end_lease"),
    ("settle", "delete_message"),
    ("results", "get"),
    ("results", "watchers"),
    ("results", "expire"),
    ("publish", "receipt"),
    ("inspect", "letters_of_queue"),
    ("revoke", "find"),
    ("revoke", "version"),
    ("revoke", "expire"),
    ("waiting", "ready_after"),
    ("waiting", "delayed_after"),
    ("waiting", "delayed_in"),
]


@pytest.mark.parametrize(("file", "name"), HOT)
def test_no_hot_statement_scans_a_table(connection, file, name):
    text = statements(file)[name]
    plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", [None] * text.count("?")).fetchall()
    details = [row[3] for row in plan]
    assert details == [] or any(detail.startswith("SEARCH") for detail in details), details
    assert not [detail for detail in details if detail.startswith("SCAN")], details
    assert not [detail for detail in details if "TEMP B-TREE" in detail], details
