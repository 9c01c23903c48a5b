"""How commits and leases go over the wire: together, in runs, and with what a process remembers of its leases."""

import pytest

from celeriac.engines.base import Ack, Bury, Claim, Commit, Keep, Node, Owner, Receipt, Record, Requeue
from celeriac.engines.redis.remembered import Remembered
from celeriac.messages import Message, Outgoing

ME, OTHER = Owner("me", 1), Owner("me", 2)


@pytest.fixture
def served(broker):
    """The broker, as a worker of `q` and of some queues with strange names."""
    broker.register(Node("me", "celery@me", "here", 1, "solo", 1, ("q", *STRANGE)))
    return broker


STRANGE = ("a:b:c", "100%d", "two\nlines", "zero\0byte")


def publish(broker, *messages, queue="q"):
    rows = [Outgoing(Message.from_headers({"id": name, "task": "t"}, body), queue) for name, body in messages]
    broker.publish(rows, Receipt(f"{queue}{messages[0][0]}", 1))


def claim(broker, limit=100, owner=ME, queue="q"):
    return list(broker.exchange(owner, [], Claim((queue,), limit)).leases)


def ids(leases):
    return [lease.message.id for lease in leases]


def leased(broker):
    return broker.client.call("HLEN", "celeriac:leased:me")


def test_of_acknowledgements_that_come_together_only_those_apply_whose_lease_is_held(served):
    publish(served, *((str(number), b"") for number in range(5)))
    leases = claim(served)
    served.exchange(ME, [Commit(leases[1].token, Ack()), Commit(leases[3].token, Ack())])
    commits = [Commit(lease.token, Ack(), Record(lease.message.id, b"mine", 60.0)) for lease in leases]
    assert served.exchange(ME, commits).applied == (True, False, True, False, True)
    assert set(served.result_store().get(map(str, range(5)))) == {"0", "2", "4"}
    assert leased(served) == 0


def test_a_lease_that_is_settled_twice_in_one_exchange_is_settled_once(served):
    publish(served, ("a", b""), ("b", b""))
    a, b = claim(served)
    commits = [Commit(a.token, Ack()), Commit(a.token, Requeue()), Commit(b.token, Requeue()), Commit(b.token, Ack())]
    assert served.exchange(ME, commits).applied == (True, False, True, False)
    assert ids(claim(served)) == ["b"]


def test_documents_that_come_together_live_each_for_its_own_time(served):
    publish(served, *((name, b"") for name in "abcd"))
    a, b, c, d = claim(served)
    records = [Record("a", b"a", 100.0), Record("b", b"b", 5000.0), None, Record("d", b"d")]
    commits = [Commit(lease.token, Ack(), record) for lease, record in zip((a, b, c, d), records, strict=True)]
    assert all(served.exchange(ME, commits).applied)
    left_ms = [served.client.call("PTTL", f"celery-task-meta-{name}") for name in "abcd"]
    assert 0 < left_ms[0] <= 100_000 < left_ms[1] <= 5_000_000
    assert left_ms[2:] == [-2, -1]


def test_the_last_document_of_a_task_stands(served):
    publish(served, ("a", b""))
    (lease,) = claim(served)
    progress = Commit(lease.token, Keep(), Record("a", b"progress", 60.0))
    assert served.exchange(ME, [progress, Commit(lease.token, Ack(), Record("a", b"end", 60.0))]).applied == (
        True,
        True,
    )
    assert served.result_store().get(["a"]) == {"a": b"end"}


@pytest.mark.parametrize("settle", [Ack(), Requeue(), Requeue(5.0), Bury("bad"), Keep(), Keep(begun=True)], ids=repr)
def test_who_has_not_claimed_a_lease_itself_can_settle_it_too(served, connect, settle):
    publish(served, ("a", b""), ("b", b""))
    a, _ = claim(served)
    assert connect().exchange(ME, [Commit(a.token, settle)]).applied == (True,)
    assert leased(served) == (2 if isinstance(settle, Keep) else 1)


def test_a_run_that_another_process_has_marked_as_begun_is_settled_by_who_claimed_it(served, connect):
    publish(served, ("a", b""))
    (lease,) = claim(served)
    connect().exchange(ME, [Commit(lease.token, Keep(begun=True))])
    (begun,) = connect().held(ME)
    assert begun.begun
    assert served.exchange(ME, [Commit(lease.token, Ack())]).applied == (True,)
    assert leased(served) == 0


def test_no_one_settles_another_childs_lease(served):
    publish(served, ("a", b""))
    (lease,) = claim(served)
    for settle in (Ack(), Requeue(), Bury("bad"), Keep(begun=True)):
        assert served.exchange(OTHER, [Commit(lease.token, settle)]).applied == (False,)
    assert served.exchange(ME, [Commit(lease.token, Ack())]).applied == (True,)


@pytest.mark.parametrize("queue", STRANGE, ids=repr)
def test_a_message_goes_back_to_its_queue_whatever_that_is_called(served, queue):
    publish(served, ("a", b""), queue=queue)
    (lease,) = claim(served, queue=queue)
    assert lease.queue == queue
    served.exchange(ME, [Commit(lease.token, Requeue())])
    (again,) = claim(served, queue=queue)
    assert (again.queue, again.message.id) == (queue, "a")
    assert [lease.queue for lease in served.seize(ME, OTHER)] == [queue]


def test_large_messages_behind_small_ones_are_claimed_later_and_in_order(served):
    large = b"x" * 600_000
    sizes = [*([b""] * 10), large, large, large, b"", large]
    publish(served, *((str(number), body) for number, body in enumerate(sizes)))
    first = ids(claim(served))
    assert first == [str(number) for number in range(11)]
    assert ids(claim(served)) + ids(claim(served)) + ids(claim(served)) == [str(number) for number in range(11, 15)]


def test_leases_of_a_batch_keep_the_order_of_priorities_and_queues(served):
    for priority in (9, 0, 5):
        rows = [
            Outgoing(Message.from_headers({"id": f"{priority}-{number}", "task": "t"}, b"", priority=priority), "q")
            for number in range(2)
        ]
        served.publish(rows, Receipt(f"p{priority}", 1))
    leases = claim(served)
    assert ids(leases) == ["0-0", "0-1", "5-0", "5-1", "9-0", "9-1"]
    assert [lease.token - leases[0].token for lease in leases] == list(range(6))


def test_what_is_remembered_is_bounded():
    remembered = Remembered()
    for first in range(0, 100_000, 100):
        remembered.note(range(first, first + 100), "0:1:::q")
    assert len(remembered._tails) <= 20_100
    assert remembered.field(1, 99_999) == "1:99999:0:1:::q"
    assert remembered.field(1, 0) == "1:0:"
