"""Slots of keys, and the map of who serves them."""

import pytest

from celeriac.engines.redis.cluster.slots import SLOTS, SlotMap, key_slot, sibling_tag, slot_tag


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        ("123456789", 0x31C3),  # the example of the cluster specification
        ("foo", 12182),
        ("{foo}.bar", 12182),
        ("x{foo}{bar}", 12182),
    ],
)
def test_keys_lie_where_redis_puts_them(key: str, slot: int) -> None:
    assert key_slot(key) == slot


def test_empty_braces_are_no_tag() -> None:
    assert key_slot("{}foo") != key_slot("{}bar")


def test_every_slot_has_a_number_that_lies_in_it() -> None:
    for slot in (0, 1, 8191, SLOTS - 1):
        assert key_slot(slot_tag(slot)) == slot
        assert key_slot(f"anything{{{slot_tag(slot)}}}") == slot


@pytest.mark.parametrize("name", ["plain", "a{b}c", "}odd", "a}b{", "{}x", "{", "{x}{y}", "ü", ""])
def test_a_sibling_lies_in_the_slot_of_its_key(name: str) -> None:
    key = f"celery-task-meta-{name}"
    assert key_slot(f"fence:{{{sibling_tag(key)}}}:{key}") == key_slot(key)


_REPLY = [
    [0, 5460, [b"10.0.0.1", 7000, b"id-1", []], [b"10.0.0.4", 7003, b"id-4", []]],
    [5461, 16382, [b"", 7001, b"id-2"]],
]


def test_a_map_is_read_from_the_answer_of_a_node() -> None:
    found = SlotMap.from_reply(_REPLY, ("seed", 7001))
    assert (found.owners[0], found.owners[5460], found.owners[5461]) == (
        ("10.0.0.1", 7000),
        ("10.0.0.1", 7000),
        ("seed", 7001),  # it does not know its own name
    )
    assert found.owners[16383] is None
    assert found.masters == [("10.0.0.1", 7000), ("seed", 7001)]
    assert found.endpoints == [("10.0.0.1", 7000), ("seed", 7001), ("10.0.0.4", 7003)]


def test_a_redirection_moves_one_slot() -> None:
    moved = SlotMap.from_reply(_REPLY, ("seed", 7001)).moved(7, ("new", 7005))
    assert (moved.owners[6], moved.owners[7], moved.owners[8]) == (
        ("10.0.0.1", 7000),
        ("new", 7005),
        ("10.0.0.1", 7000),
    )
    assert ("new", 7005) in moved.masters
