"""What a worker says when it starts."""

from __future__ import annotations

import platform

import celeriac
from celeriac.worker.plan import Plan

__all__ = ["banner"]


def banner(plan: Plan, broker: str, results: str) -> str:
    """Who, where, what, and how safely."""
    if plan.acks_late:
        delivery = f"at least once: a task whose worker dies runs again, {plan.max_deliveries} runs at most"
        note = "\n                 (Celery's default is at most once; task_acks_late=False gives that)"
    else:
        delivery, note = "at most once: a task whose worker dies ends as a failure (task_acks_late=False)", ""
    tasks = "\n".join(f"  . {name}" for name in plan.tasks) or "  (none: does the application import its task modules?)"
    queues = "\n".join(f"  . {name}" for name in plan.queues)
    return f"""
 {plan.hostname}  celeriac {celeriac.__version__}  {_system()}

 [config]
  . app:         {plan.app_name}
  . broker:      {broker}
  . results:     {"the same store" if results == broker else results}
  . concurrency: {plan.concurrency} ({plan.pool})
  . delivery:    {delivery}{note}

 [queues]
{queues}

 [tasks]
{tasks}
"""


def _system() -> str:
    # Not platform.platform(), which starts a process to ask for what is not shown anyway.
    return f"{platform.system()}-{platform.release()}-{platform.machine()}"
