"""A producer in a process of its own, Celery's or ours: answers what the test asks, a pickle each way.

The functions below are all there is to ask; what they use is the API that both sides share.
"""

import pickle
import struct
import sys
import time
import traceback

import fleet_tasks
from fleet_tasks import SIDE, app

LONGEST_WAIT_S = 40.0


def send(task, args=(), kwargs=None, **options):
    """The id of a new task."""
    return getattr(fleet_tasks, task).apply_async(args, kwargs, **options).id


def send_unchecked(task, args, **options):
    """As a producer that does not know the function."""
    getattr(fleet_tasks, task).typing = False
    return send(task, args, **options)


def send_many(task, calls, **options):
    """The ids of new tasks, sent one by one."""
    return [send(task, args, **options) for args in calls]


def send_by_name(protocol, task, args=(), kwargs=None, **options):
    """As a program that uses Celery and does not know the tasks; protocol 1 is that of Celery before 4.0."""
    from celery import Celery

    stores = {"broker": app.conf.broker_url, "backend": app.conf.result_backend}
    with Celery("stranger", **stores, task_protocol=protocol, set_as_current=False) as stranger:
        return stranger.send_task(f"fleet_tasks.{task}", args, kwargs, **options).id


def get(task_id, **options):
    """The value, pushed: the interval of a look without a push is longer than any test waits."""
    return awaited(task_id).get(**{"timeout": LONGEST_WAIT_S, **options})


def awaited(task_id):
    """A result whose publication will be heard.

    Celery sends SUBSCRIBE on one connection and looks on another without awaiting the first. A busy server may serve the
    look, the worker's PUBLISH and then the SUBSCRIBE; Celery's caller then waits for ever for what it has missed.
    """
    result = app.AsyncResult(task_id)
    if SIDE == "celery":
        backend = app.backend
        backend.add_pending_result(result)
        key = backend.get_key_for_task(task_id)
        while result._cache is None and not dict(backend.client.pubsub_numsub(key))[key]:
            time.sleep(0.001)
    return result


def get_many(task_ids):
    """The values in order."""
    return [get(task_id) for task_id in task_ids]


def outcome(task_id):
    """How a task that fails looks to its caller."""
    result = awaited(task_id)
    try:
        result.get(timeout=LONGEST_WAIT_S)
    except Exception as error:
        return {**described(error), "state": result.state, "traceback": result.traceback}
    return {"state": result.state}


def look(task_id):
    """What can be seen of a task that has not ended."""
    result = app.AsyncResult(task_id)
    state, info = result.state, result.info
    return state, described(info) if isinstance(info, Exception) else info


def children(task_id):
    return [child.id for child in app.AsyncResult(task_id).children]


def described(error):
    kind = type(error)
    return {"module": kind.__module__, "name": kind.__name__, "args": error.args, "text": str(error)}


ANSWERS = {
    function.__name__: function
    for function in (send, send_unchecked, send_many, send_by_name, get, get_many, outcome, look, children)
}


def main():
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    write(answers, SIDE)
    while size := questions.read(4):
        name, args, kwargs = pickle.loads(questions.read(*struct.unpack(">I", size)))
        try:
            answer = True, ANSWERS[name](*args, **kwargs)
        except Exception:
            answer = False, traceback.format_exc()
        write(answers, answer)


def write(answers, value):
    packed = pickle.dumps(value)
    answers.write(struct.pack(">I", len(packed)) + packed)
    answers.flush()


if __name__ == "__main__":
    main()
