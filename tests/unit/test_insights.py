import json

import pytest

from celeriac.documents import Document
from celeriac.engines.base import Claim, Node, Owner, Receipt, Record
from celeriac.insights import documents, overview
from celeriac.messages import Outgoing


@pytest.fixture
def publish(app, make_message):
    def publish(queue, number=1, due=None):
        app.broker.publish(
            [Outgoing(make_message(id=f"{queue}-{number}"), queue, due)], Receipt(f"{queue}-{number}", 1)
        )

    return publish


def register(app, *queues):
    app.broker.register(Node("node-1", "celery@unit", "unit", 4321, "prefork", 2, queues))


def test_an_empty_store_has_its_default_queue(app, clock):
    seen = overview(app)
    assert (seen.at, seen.store, seen.workers, seen.unserved) == (clock.time(), ":memory:", [], [])
    assert [(queue.name, queue.ready) for queue in seen.queues] == [("celery", 0)]


def test_queues_are_counted_and_sorted(app, publish):
    publish("mail", 1)
    publish("mail", 2)
    publish("mail", 3, due=9e9)
    register(app, "mail")
    app.broker.exchange(Owner("node-1", 1), [], Claim(("mail",), 1))
    celery, mail = overview(app).queues
    assert (celery.name, mail.name) == ("celery", "mail")
    assert (mail.ready, mail.leased, mail.delayed, mail.dead) == (1, 1, 1, 0)
    assert mail.oldest is not None


def test_a_queue_that_no_worker_serves_is_named_when_something_waits_there(app, publish):
    register(app, "mail")
    publish("mail")
    publish("celery")
    publish("later", due=9e9)
    assert overview(app).unserved == ["celery", "later"]


def test_a_workers_queues_are_shown_though_they_are_empty(app):
    register(app, "mail", "slow")
    seen = overview(app)
    assert [queue.name for queue in seen.queues] == ["celery", "mail", "slow"]
    assert [(worker.node.name, worker.alive) for worker in seen.workers] == [("celery@unit", True)]
    app.broker.unregister("node-1")


def test_a_dead_worker_serves_nothing(app, publish):
    register(app, "celery")
    app.broker._locks.release("node-1")
    publish("celery")
    seen = overview(app)
    assert [worker.alive for worker in seen.workers] == [False]
    assert seen.unserved == ["celery"]


def test_an_overview_is_plain_data(app, publish):
    register(app, "celery")
    publish("celery")
    assert json.loads(json.dumps(overview(app).as_dict()))["workers"][0]["node"]["name"] == "celery@unit"
    app.broker.unregister("node-1")


def test_many_documents_are_read_at_once_and_what_waits_has_none(app):
    for task_id, status in (("one", "SUCCESS"), ("two", "PROGRESS")):
        app.results.store([Record(task_id, Document(task_id, status, 1).encode())])
    found = documents(app, ["one", "two", "three"])
    assert {task_id: document.status for task_id, document in found.items()} == {"one": "SUCCESS", "two": "PROGRESS"}
    assert found["one"].ready
    assert not found["two"].ready
