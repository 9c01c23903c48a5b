"""The scripts: each has those parts in front of it that it needs, and no others."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from celeriac.engines.redis.scripts import LUA, evaluation, parts_of

SCRIPTS = sorted(LUA.glob("*.lua"))
PARTS = sorted((LUA / "parts").glob("*.lua"))


def code(file: Path) -> str:
    """Without comments and texts."""
    return re.sub(r"'[^']*'", "''", re.sub(r"--.*", "", file.read_text()))


def defined(file: Path) -> set[str]:
    """What a file offers to those that come after it."""
    found = set(re.findall(r"^local function (\w+)", code(file), re.MULTILINE))
    for names in re.findall(r"^local ([\w, ]+?)(?: =|$)", code(file), re.MULTILINE):
        found |= set(names.split(", "))
    return found


def its_own(file: Path) -> set[str]:
    """What it names itself: values, and what its loops and functions go by."""
    found = defined(file)
    for names in re.findall(r"(?:local|for) ([\w, ]+?) (?:=|in) |function \w*\(([\w, ]*)\)", code(file)):
        found |= {name for several in names for name in several.split(", ")}
    return found


OFFERED = {part.stem: defined(part) for part in PARTS}


@pytest.mark.parametrize("file", [*SCRIPTS, *PARTS], ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_script_names_the_parts_that_it_uses(file: Path) -> None:
    used = set(re.findall(r"(?<![.\w])\w+", code(file))) - its_own(file)
    named = {
        name for names in re.findall(r"^-- Needs: (.+)$", file.read_text(), re.MULTILINE) for name in names.split(", ")
    }
    assert {part for part, names in OFFERED.items() if names & used and part != file.stem} == named


def test_no_two_parts_offer_the_same_name() -> None:
    names = [name for offered in OFFERED.values() for name in offered]
    assert len(names) == len(set(names))


def test_a_part_comes_once_and_after_those_it_builds_on() -> None:
    parts = parts_of("-- Needs: tokens, keys\n")
    assert sorted(parts) == ["clock", "keys", "tokens", "types"]
    assert parts[-1] == "tokens"


@pytest.mark.parametrize("name", [file.stem for file in SCRIPTS])
def test_a_script_is_asked_for_by_the_hash_of_what_the_server_would_be_given(name: str) -> None:
    by_hash, whole = evaluation(name, ("{a}1", "{a}2"), "{a}", (1,), [b"blob"])
    assert by_hash[0] == "EVALSHA"
    assert whole[0] == "EVAL"
    assert by_hash[1] == hashlib.sha1(whole[1].encode()).hexdigest()
    assert by_hash[2:] == whole[2:] == (2, "{a}1", "{a}2", "{a}", b"\x91\x01", b"blob")
