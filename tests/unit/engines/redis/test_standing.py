"""Claims that are left with the server, which carries them out when the bell has rung."""

import threading
import time

import pytest

from celeriac.engines.base import Ack, Claim, Commit, Owner
from celeriac.exceptions import OperationalError
from support.waiting import PATIENCE_S, until

ME, OTHER = Owner("me", 1), Owner("me", 2)
CLAIM = Claim(("q",), 1, park=True)


class Standing:
    """A parked claim that a thread lets stand until it is answered."""

    def __init__(self, broker, owner=ME, within_s=PATIENCE_S):
        self.broker, self.owner, self.within_s = broker, owner, within_s
        self.answer = None
        assert broker.exchange(owner, [], CLAIM).leases == ()
        self.thread = threading.Thread(target=self.stand, daemon=True)
        self.thread.start()

    def stand(self):
        while self.answer is None:
            self.answer = self.broker.stand(self.owner, CLAIM, self.within_s)

    def ids(self):
        self.thread.join(PATIENCE_S)
        return [lease.message.id for lease in self.answer.leases]


def blocked(broker):
    return broker.client.call("INFO", "clients").count(b"blocked_clients:1")


def woken_later(broker):
    """A claim that stands though nobody waits for its answer."""
    assert broker.exchange(ME, [], CLAIM).leases == ()
    broker.wake()
    assert broker.stand(ME, CLAIM, PATIENCE_S) is None
    until(lambda: blocked(broker), "the server waits for a ring")


def calls(broker, command):
    stats = broker.client.call("INFO", "commandstats").decode()
    found = [line for line in stats.splitlines() if line.startswith(f"cmdstat_{command}:")]
    return int(found[0].split("calls=")[1].split(",")[0]) if found else 0


def test_a_message_arrives_with_the_wake_up_and_nothing_is_asked(broker, connect, send):
    standing = Standing(broker)
    until(lambda: blocked(broker), "the server waits for a ring")
    before = calls(broker, "evalsha")
    send(connect(), "a")
    assert standing.ids() == ["a"]
    # The publish, the claim that stood; and, now and then, a look for messages of foreign producers.
    assert calls(broker, "evalsha") - before <= 4


def test_one_message_wakes_one_child(broker, connect, send):
    first, second = Standing(broker), Standing(connect(), OTHER)
    until(lambda: broker.client.call("INFO", "clients").count(b"blocked_clients:2"), "both wait")
    send(connect(), "a")
    until(lambda: first.answer or second.answer, "one is woken")
    woken, asleep = (first, second) if first.answer else (second, first)
    assert woken.ids() == ["a"]
    assert asleep.answer is None
    send(connect(), "b")
    assert asleep.ids() == ["b"]


def test_with_nothing_it_is_answered_in_time(broker):
    standing = Standing(broker, within_s=0.05)
    assert standing.ids() == []
    assert broker.client.call("ZCARD", "celeriac:{q}:waiting") == 1


def test_what_becomes_due_is_claimed_when_it_does(broker, send):
    due = time.time() + 0.3
    send(broker, "a", due=due)
    next_due_s = broker.exchange(ME, [], CLAIM).next_due_s
    standing = Standing(broker, within_s=next_due_s)
    while not (found := standing.ids()):
        standing = Standing(broker, within_s=0.01)
    assert found == ["a"]
    assert time.time() >= due


def test_a_foreign_message_is_found_too(broker, connect, send):
    standing = Standing(broker)
    send(broker, "a", queue="elsewhere")
    raw = broker.client.call("RPOP", "elsewhere")
    broker.client.call("LPUSH", "q", raw)
    assert standing.ids() == ["a"]


def test_a_claim_stands_on_while_nobody_waits_for_its_answer(broker, connect, send):
    woken_later(broker)
    send(connect(), "a")
    until(lambda: not blocked(broker), "the claim is carried out")
    answer = broker.stand(ME, CLAIM, PATIENCE_S)
    assert [lease.message.id for lease in answer.leases] == ["a"]
    assert broker.exchange(ME, [Commit(answer.leases[0].token, Ack())]).applied == (True,)


def test_what_a_given_up_claim_got_is_held(broker, connect, send):
    woken_later(broker)
    send(connect(), "a")
    until(lambda: not blocked(broker), "the claim is carried out")
    assert broker.exchange(ME, []).reconnected
    assert [lease.message.id for lease in broker.held(ME)] == ["a"]
    assert not broker.exchange(ME, []).reconnected


def test_a_given_up_claim_gets_nothing_more(broker, connect, send):
    woken_later(broker)
    broker.exchange(ME, [])
    assert broker.held(ME) == []
    send(connect(), "a")
    until(lambda: not blocked(broker), "the claim is refused")
    assert broker.client.call("LLEN", "q") == 1
    assert broker.held(ME) == []
    assert [lease.message.id for lease in broker.exchange(ME, [], CLAIM).leases] == ["a"]


def test_after_a_given_up_claim_another_one_stands(broker, connect, send):
    woken_later(broker)
    broker.exchange(ME, [])
    standing = Standing(broker)
    send(connect(), "a")
    assert standing.ids() == ["a"]


def test_nobody_else_gives_a_claim_up(broker, connect, send):
    woken_later(broker)
    assert not broker.exchange(Owner("me"), []).reconnected
    send(connect(), "a")
    answer = None
    while answer is None:
        answer = broker.stand(ME, CLAIM, PATIENCE_S)
    assert [lease.message.id for lease in answer.leases] == ["a"]


def test_a_server_that_has_forgotten_its_scripts_is_asked_the_usual_way(broker, connect, send):
    woken_later(broker)
    broker.client.call("SCRIPT", "FLUSH")
    send(connect(), "a")
    answer = None
    while answer is None:
        answer = broker.stand(ME, CLAIM, PATIENCE_S)
    assert answer.leases == ()
    assert answer.reconnected
    assert [lease.message.id for lease in broker.exchange(ME, [], CLAIM).leases] == ["a"]


def test_a_lost_connection_is_told_and_what_was_claimed_is_held(broker, connect, send):
    woken_later(broker)
    send(connect(), "a")
    until(lambda: not blocked(broker), "the claim is carried out")
    connection = broker._bell._connection
    connection._socket.recv(100_000)  # the answer is lost
    connection.shut_down()
    with pytest.raises(OperationalError):
        broker.stand(ME, CLAIM, PATIENCE_S)
    assert broker.exchange(ME, [], CLAIM).reconnected
    assert [lease.message.id for lease in broker.held(ME)] == ["a"]


def test_a_stopped_child_leaves_no_claim_behind(broker, connect, send):
    woken_later(broker)
    broker.close()
    other = connect()
    until(lambda: not blocked(other), "the server has noticed")
    send(other, "a")
    assert other.client.call("LLEN", "q") == 1
