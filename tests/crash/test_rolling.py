"""Workers are restarted in turn under a load of short, middling and long tasks, as a deployment does.

The long ones outlast the grace period, so each restart interrupts those of its worker; they begin again elsewhere, from the
start, and end when a worker lives long enough. An interruption is no failed attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from crash.fleet import Fleet
from crash.scale import patience, sized
from support.processes import needs_proc

Figure = Callable[[str], None]
MakeFleet = Callable[..., Fleet]

pytestmark = [needs_proc, patience(180, 1500)]

_RESTARTS = sized(5, 100)
_WORKERS = 3
_GRACE_S = 2.0
_MIDDLING_S, _LONG_S = sized((0.3, 7.0), (1.0, 60.0))


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_rolling_restarts_lose_nothing_and_count_nothing(kind: str, make_fleet: MakeFleet, figure: Figure) -> None:
    fleet = make_fleet(kind, worker_shutdown_grace=_GRACE_S)
    results = fleet.send(4, "work", _LONG_S)
    long = range(4)
    with ExitStack() as stack:
        workers = [stack.enter_context(fleet.worker("-c", 4)) for _ in range(_WORKERS)]
        fleet.wait_until_begun(len(long))
        for restart in range(_RESTARTS):
            results += fleet.send(100) + fleet.send(4, "work", _MIDDLING_S)
            assert workers[restart % _WORKERS].stop() == 0
            workers[restart % _WORKERS] = stack.enter_context(fleet.worker("-c", 4)).wait_until_ready()
        fleet.assert_all_done(results, timeout_s=_LONG_S * 3 + 60)
        assert [worker.stop() for worker in workers] == [0] * _WORKERS
    runs = fleet.audit.read()
    assert runs.started.keys() == set(range(len(results)))
    assert runs.redelivered == set()
    assert runs.repeated <= set(long)
    for number, processes in runs.started.items():
        assert runs.ended[number] == processes[-1:], (
            f"task {number} began in {processes}, ended in {runs.ended[number]}"
        )
    fleet.assert_nothing_is_left()
    interruptions = [len(runs.started[number]) - 1 for number in long]
    assert sum(interruptions) > 0
    assert max(interruptions) <= _RESTARTS
    figure(
        f"{_RESTARTS} restarts (grace {_GRACE_S:g} s): lost 0 of {len(results)}, ended twice 0, attempts counted 0; "
        f"the tasks of {_LONG_S:g} s were interrupted {', '.join(map(str, interruptions))} times"
    )
