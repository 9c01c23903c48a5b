"""Waiting for results in a store that is away."""

from __future__ import annotations

from pathlib import Path

import pytest

from celeriac.engines import open_broker
from celeriac.engines.base import EngineOptions
from celeriac.engines.sqlite import SQLiteBroker
from celeriac.exceptions import BrokerError


def test_a_wait_that_fails_at_its_begin_or_its_end_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = open_broker(f"sqlite:///{tmp_path / 'store.db'}", EngineOptions(str(tmp_path)))
    assert isinstance(broker, SQLiteBroker)
    results = broker.result_store()

    def away(**_: object) -> None:
        raise BrokerError("away")

    with results.watch("ends", lambda: None):
        monkeypatch.setattr(broker.database, "write", away)
    with pytest.raises(BrokerError), results.watch("begins", lambda: None):
        pass
    assert results.sizes() == {"results waited for": 0}
    monkeypatch.undo()
    broker.close()
