"""Values as kombu 5.7 writes and reads them (record_golden.py)."""

import datetime
import json
import zoneinfo
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest

from celeriac.serialization import dumps, loads

CASES = json.loads((Path(__file__).parent / "golden" / "json_values.json").read_text(encoding="ascii"))


class Point(NamedTuple):
    x: object
    y: object


class Money:
    def __json__(self):
        return {"amount": "9.95", "currency": "CHF"}


NAMES = {
    "datetime": datetime,
    "zoneinfo": zoneinfo,
    "Decimal": Decimal,
    "UUID": UUID,
    "Point": Point,
    "Money": Money,
    "nan": float("nan"),
    "inf": float("inf"),
}


def test_the_golden_file_is_there():
    assert len(CASES) > 50


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_value_is_written_as_celery_writes_it(case):
    assert dumps(eval(case["python"], NAMES)).decode("ascii") == case["encoded"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_value_is_read_as_celery_reads_it(case):
    assert repr(loads(case["encoded"].encode("ascii"))) == case["decoded"]
