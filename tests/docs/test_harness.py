"""The tests of the pages would notice: a block that nothing is said of, and a page that shows what is not so."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.blocks import projects
from docs.shown import Ids, comes_in_order, same
from docs.walk import Walk

_ID_1, _ID_2 = "11111111-0000-4000-8000-000000000001", "22222222-0000-4000-8000-000000000002"


def _page(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```sh\nmake coffee\n```\n", "page.md:1: a block of sh is not run; say why"),
        ("```\nplain\n```\n", "a block of no language is not run"),
        ("<!-- not run: -->\n```sh\nmake coffee\n```\n", "lacks a word"),
        ("<!-- file: tasks.py -->\nNo block.\n", "no block below"),
    ],
)
def test_a_block_that_nothing_is_said_of_is_an_error(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=said):
        projects(_page(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "```pycon\n>>> 1 + 1\n3\n```\n",
        "```pycon\n>>> 1 / 0\n```\n",
        "```python\nraise KeyError\n```\n",
        "```console\n$ echo two\nthree\n```\n",
        "```console\n$ false\n```\n",
        "<!-- exits: 1 -->\n```console\n$ true\n```\n",
    ],
)
def test_a_page_that_shows_what_is_not_so_fails(text: str, tmp_path: Path) -> None:
    [blocks] = projects(_page(tmp_path, text))
    with Walk(blocks, tmp_path / "project") as walk, pytest.raises(AssertionError, match=r"page\.md:\d"):
        walk.go()


def test_what_varies_and_dots_are_no_difference() -> None:
    assert same(f"{_ID_1} in 0.5s\n...\nend", f"{_ID_2} in 3e-05s\na\nb\nend\n")
    assert not same("succeeded: 4", "succeeded: 5")
    assert not same("a", "a\nb")


def test_lines_of_a_log_are_wanted_in_their_order() -> None:
    assert comes_in_order("one\nthree", "one\ntwo\nthree\n")
    assert not comes_in_order("three\none", "one\ntwo\nthree\n")


def test_an_id_of_the_page_stands_for_that_of_the_run() -> None:
    ids = Ids()
    ids.learn(_ID_1, _ID_2)
    assert ids.real(f"result {_ID_1}") == f"result {_ID_2}"
