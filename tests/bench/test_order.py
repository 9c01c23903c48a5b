"""Peers are measured in turn, and in another order in each round."""

from __future__ import annotations

from bench.__main__ import in_turn
from bench.peers import PEERS

ALL = list(PEERS.values())


def test_every_round_has_every_peer() -> None:
    for number in range(1, 6):
        assert sorted(peer.name for peer in in_turn(ALL, number)) == sorted(PEERS)


def test_each_of_three_rounds_begins_with_another() -> None:
    assert len({in_turn(ALL, number)[0].name for number in (1, 2, 3)}) == 3


def test_one_alone_is_in_every_round() -> None:
    assert in_turn(ALL[:1], 2) == ALL[:1]
