"""The solo pool: supervisor, courier and slot in one process, for debuggers and stores in memory."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType

from celeriac.engines.base import Owner
from celeriac.worker import logs
from celeriac.worker.banner import banner
from celeriac.worker.courier import Courier
from celeriac.worker.leases import LeaseService
from celeriac.worker.plan import Wishes
from celeriac.worker.processes import leave_forks_to_the_task, stop_signals
from celeriac.worker.slot import run_slot
from celeriac.worker.starting import register_patiently, say
from celeriac.worker.template import load

__all__ = ["run_solo"]

logger = logging.getLogger("celeriac.worker")


def run_solo(wishes: Wishes) -> int:
    """Work in this process until a signal; returns the exit status. Raises `ConfigError` before the start.

    A task that is running when the signal comes is finished: there is no other process that could interrupt it. A second
    signal is the end of this process, and the next worker takes over.
    """
    app, plan = load(wishes)
    logs.set_up(wishes.loglevel, plan.log_format, "MainProcess", wishes.logfile)
    broker, results = app.broker, app.results
    courier = Courier(broker, results, Owner(plan.node_id, 1), plan.queues)
    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        for number in stop_signals():
            signal.signal(number, signal.SIG_DFL)
        # In a thread: the handler interrupts the slot, which may be in the middle of printing, or hold the very lock that
        # a wake-up needs.
        threading.Thread(target=wind_down, name="celeriac-stop", daemon=True).start()

    def wind_down() -> None:
        courier.stop()
        say("\nceleriac: stopping; the running task finishes first, the rest goes back (again: at once)")

    for number in stop_signals():
        signal.signal(number, stop)
    leave_forks_to_the_task()
    register_patiently(broker, plan, lambda: stopped)
    say(banner(plan, broker.describe(), results.describe()))
    leases = LeaseService(plan, broker, results)
    leases.start()
    logger.info("%s ready.", plan.hostname)
    with logs.print_to_log(plan.redirect_level):
        courier.start()
        run_slot(app, plan.hostname, courier)
        courier.join()
    if leases.stop(timeout_s=10.0):
        broker.unregister(plan.node_id)
    app.close()
    return 0
