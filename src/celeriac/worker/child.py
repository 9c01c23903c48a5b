"""A child: one courier, one slot. It is forked from the template and ends when the supervisor says so, or dies."""

from __future__ import annotations

import os
import threading

from celeriac.app import Celery
from celeriac.engines.base import Owner
from celeriac.worker import logs
from celeriac.worker.board import Board
from celeriac.worker.channel import Channel, Closed
from celeriac.worker.courier import Courier
from celeriac.worker.plan import Plan
from celeriac.worker.processes import die_with_parent, leave_forks_to_the_task, leave_signals_to_the_supervisor
from celeriac.worker.slot import run_slot

__all__ = ["STOP", "run_child"]

STOP = "stop"


def run_child(
    app: Celery, plan: Plan, number: int, slot_name: str, channel: Channel, board: Board, parent: int
) -> None:
    """Work until told to stop, and return when everything is settled. For a freshly forked process."""
    die_with_parent(parent)
    leave_signals_to_the_supervisor()
    leave_forks_to_the_task()
    logs.set_up(plan.wishes.loglevel, plan.log_format, slot_name, plan.wishes.logfile)
    courier = Courier(app.broker, app.results, Owner(plan.node_id, number), plan.queues)
    threading.Thread(target=_obey, args=(channel, courier), name="celeriac-control", daemon=True).start()
    with logs.print_to_log(plan.redirect_level):
        courier.start()
        run_slot(app, plan.hostname, courier, board)
        courier.join()
    app.close()


def _obey(channel: Channel, courier: Courier) -> None:
    try:
        while True:
            word, _ = channel.receive()
            if word == STOP:
                courier.stop()
    except Closed:
        # The supervisor died, so nobody renews our lease: what we run is about to be someone else's.
        os._exit(1)
