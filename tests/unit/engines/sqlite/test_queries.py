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
    ("claim", "next_after"),
    ("claim", "take"),
    ("claim", "raw"),
    ("claim", "due"),
    ("claim", "waiting"),
    ("results", "get"),
    ("results", "expire"),
    ("inspect", "letters_of_queue"),
    ("revoke", "find"),
    ("revoke", "version"),
    ("revoke", "expire"),
    ("waiting", "ready_after"),
    ("waiting", "delayed_after"),
    ("waiting", "delayed_in"),
    ("waiting", "delete_message"),
    ("waiting", "first_ready"),
    ("waiting", "first_delayed"),
]
#: These walk a list that they are given, and nothing else.
OF_A_LIST = [
    ("claim", "raws"),
    ("results", "watchers"),
    ("settle", "leases"),
    ("settle", "end_leases"),
    ("settle", "delete_messages"),
]


@pytest.mark.parametrize(("file", "name"), HOT)
def test_no_hot_statement_scans_a_table(connection, file, name):
    text = statements(file)[name]
    plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", [None] * text.count("?")).fetchall()
    details = [row[3] for row in plan]
    assert details == [] or any(detail.startswith("SEARCH") for detail in details), details
    assert not [detail for detail in details if detail.startswith("SCAN")], details
    assert not [detail for detail in details if "TEMP B-TREE" in detail], details


@pytest.mark.parametrize(("file", "name"), OF_A_LIST)
def test_a_statement_with_a_list_scans_the_list_alone(connection, file, name):
    text = statements(file)[name]
    details = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", [None] * text.count("?"))]
    assert any(detail.startswith("SEARCH") for detail in details), details
    scans = [detail for detail in details if detail.startswith("SCAN")]
    assert all("VIRTUAL TABLE" in scan for scan in scans), details
