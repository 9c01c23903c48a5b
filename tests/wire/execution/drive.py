"""Sends what the scenarios say to a worker of its own side, or runs them eagerly; prints what came of them as JSON."""

import json
import os
import sys
import time

import execution_tasks as t
from execution_tasks import app
from scenarios import ALWAYS_EAGER, EAGER, SCENARIOS

PATIENCE_S = 60


def lines():
    with open(os.environ["EXECUTION_AUDIT"], encoding="utf-8") as audit:
        whole, _, _ = audit.read().rpartition("\n")  # the last line may be seen while it is written
    return [json.loads(line) for line in whole.splitlines()]


def ended():
    """How many runs have ended, by the first task of all."""
    counts = {}
    for root, event, *facts in lines():
        if event.endswith("signal task_postrun") and facts[0]["state"] != "RETRY":
            counts[root] = counts.get(root, 0) + 1
    return counts


def run_all():
    for name, (_, call) in SCENARIOS.items():
        call(t, task_id=name)
    wanted = {name: runs for name, (runs, _) in SCENARIOS.items() if runs}
    deadline = time.monotonic() + PATIENCE_S
    while any(ended().get(name, 0) < runs for name, runs in wanted.items()):
        if time.monotonic() > deadline:
            missing = {
                name: (ended().get(name, 0), runs) for name, runs in wanted.items() if ended().get(name, 0) < runs
            }
            raise SystemExit(f"these have not ended: {missing}")
        time.sleep(0.02)
    # One slot: what has ended before this one did is stored.
    last = t.look.apply_async()
    while not last.ready():
        time.sleep(0.02)
    events = {}
    for root, *event in lines():
        events.setdefault(root, []).append(event)
    return {name: {"events": events.get(name, []), "document": document(name)} for name in SCENARIOS}


def document(task_id):
    store = app.backend
    if hasattr(store, "get_key_for_task"):
        raw = store.get(store.get_key_for_task(task_id))
    else:
        raw = store.get([task_id]).get(task_id)
    return None if raw is None else raw.decode()


def run_eagerly(scenarios):
    answers = {}
    for name, call in scenarios.items():
        before = len(lines())
        try:
            result = call(t)
            value = result.get(propagate=False)
            if isinstance(value, BaseException):
                value = f"{type(value).__name__}: {value}"
            trace = (result.traceback or "").rstrip().splitlines()[-1:]
            answer = [result.state, repr(value) if not isinstance(value, (dict, list)) else value, trace, result.name]
        except Exception as error:
            answer = f"raised {type(error).__name__}: {error}"
        answers[name] = {"answer": answer, "events": [event for _, *event in lines()[before:]]}
    return answers


if __name__ == "__main__":
    open(os.environ["EXECUTION_AUDIT"], "a").close()
    if sys.argv[1] == "worker":
        told = run_all()
    elif sys.argv[1] == "apply":
        told = run_eagerly(EAGER)
    else:
        app.conf.task_always_eager = True
        told = run_eagerly(ALWAYS_EAGER)
    print(json.dumps(told))
