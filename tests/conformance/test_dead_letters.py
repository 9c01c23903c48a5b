"""Dead letters: read, sent again, dropped."""

from __future__ import annotations

from celeriac.engines.base import Broker, Bury, DeadLetter
from conformance.engines import Other
from conformance.making import ME, Producer, claim, ids, outgoing, queue_state, settle
from support.waiting import until


def bury(broker: Broker, *names: str, queue: str = "q") -> list[DeadLetter]:
    """Bury messages of these ids, in this order; their letters, newest first."""
    producer = Producer(broker)
    for name in names:
        producer.send(outgoing(name, queue))
        (lease,) = claim(broker, queue)
        assert settle(broker, lease, Bury(f"{name} was bad"))
    return broker.dead()


def test_letters_come_newest_first(broker: Broker, other: Other) -> None:
    bury(broker, "a", "b", "c")
    assert [letter.task_id for letter in other.broker.dead()] == ["c", "b", "a"]


def test_letters_are_told_by_queue_and_up_to_a_limit(broker: Broker) -> None:
    bury(broker, "a", "b", queue="one")
    bury(broker, "c", queue="two")
    assert [letter.task_id for letter in broker.dead("one")] == ["b", "a"]
    assert [letter.task_id for letter in broker.dead("one", 1)] == ["b"]
    assert [letter.task_id for letter in broker.dead(None, 2)] == ["c", "b"]
    assert broker.dead("three") == []


def test_one_letter_is_found_by_its_number(broker: Broker) -> None:
    newest, oldest = bury(broker, "a", "b")
    assert broker.find_dead(oldest.id) == oldest
    assert broker.find_dead(newest.id) == newest
    assert broker.find_dead(newest.id + 1000) is None


def test_a_number_is_never_used_for_another_letter(broker: Broker) -> None:
    (first,) = bury(broker, "a")
    assert broker.drop_dead([first.id]) == 1
    (second,) = bury(broker, "b")
    assert second.id != first.id
    assert broker.find_dead(first.id) is None


def test_an_exhumed_letter_becomes_the_message_that_is_given(broker: Broker) -> None:
    kept, letter = bury(broker, "a", "b")
    assert broker.exhume(letter.id, outgoing("again", "two"))
    assert broker.dead() == [kept]
    (lease,) = claim(broker, "two")
    assert (lease.message.id, lease.deliveries) == ("again", 1)


def test_a_letter_is_exhumed_once(broker: Broker, other: Other) -> None:
    (letter,) = bury(broker, "a")
    assert broker.exhume(letter.id, outgoing("a"))
    assert not broker.exhume(letter.id, outgoing("a"))
    assert not other.broker.exhume(letter.id, outgoing("a"))
    assert queue_state(broker).ready == 1


def test_a_letter_that_is_gone_publishes_nothing(broker: Broker) -> None:
    (letter,) = bury(broker, "a")
    assert broker.drop_dead([letter.id]) == 1
    assert not broker.exhume(letter.id, outgoing("a"))
    assert broker.queues() == []


def test_dropping_tells_how_many_there_were(broker: Broker) -> None:
    letters = bury(broker, "a", "b", "c")
    assert broker.drop_dead([letters[0].id, letters[2].id, 987654]) == 2
    assert broker.drop_dead([letters[0].id]) == 0
    assert broker.drop_dead([]) == 0
    assert broker.dead() == [letters[1]]


def test_trimming_deletes_the_oldest_beyond_the_size(broker: Broker) -> None:
    bury(broker, "a", "b", "c", "d")
    assert broker.trim_dead(3600.0, 4) == 0
    assert broker.trim_dead(3600.0, 2) == 2
    assert [letter.task_id for letter in broker.dead()] == ["d", "c"]
    assert broker.trim_dead(3600.0, 0) == 2
    assert broker.trim_dead(3600.0, 0) == 0


def test_trimming_deletes_what_is_older_than_the_age(broker: Broker) -> None:
    (old,) = bury(broker, "old")
    assert broker.trim_dead(3600.0, 100) == 0
    assert until(lambda: broker.trim_dead(0.05, 100), "the letter is old enough") == 1
    assert broker.find_dead(old.id) is None


def test_burying_again_makes_a_letter_again(broker: Broker) -> None:
    (letter,) = bury(broker, "a")
    assert broker.exhume(letter.id, outgoing("a"))
    (lease,) = claim(broker)
    assert settle(broker, lease, Bury("still bad"))
    (again,) = broker.dead()
    assert (again.reason, again.task_id) == ("still bad", "a")
    assert ids(broker.held(ME)) == []


def test_letters_are_read_on_from_one_that_may_be_gone(broker: Broker) -> None:
    names = [f"{number:02}" for number in range(25)]
    bury(broker, *names)
    read: list[str | None] = []
    last: DeadLetter | None = None
    while page := broker.dead("q", 4, last):
        last = page[-1]
        read += [letter.task_id for letter in page]
        assert broker.drop_dead({page[0].id, last.id}) == len({page[0].id, last.id})
    assert sorted(map(str, read)) == names
    assert read[0] == "24"


def test_what_the_caps_delete_is_counted(broker: Broker, other: Other) -> None:
    bury(broker, "a", "b", "c")
    assert broker.dead_trimmed() == 0
    assert broker.trim_dead(3600.0, 2) == 1
    assert other.broker.trim_dead(3600.0, 0) == 2
    assert broker.dead_trimmed() == 3
