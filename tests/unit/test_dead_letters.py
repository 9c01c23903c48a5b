import pytest

from celeriac.dead_letters import DeadLetters, fresh
from celeriac.documents import Document
from celeriac.engines.base import Bury, Claim, Commit, Owner, Receipt, Record
from celeriac.exceptions import DecodeError
from celeriac.messages import Outgoing

OWNER = Owner("node", 1)


@pytest.fixture
def letters(app):
    return DeadLetters(app)


@pytest.fixture
def bury(app, make_message):
    def bury(queue="celery", reason="ValueError('why')", **headers):
        message = make_message(**headers)
        app.broker.publish([Outgoing(message, queue)], Receipt(f"p-{message.id}", 1))
        (lease,) = app.broker.exchange(OWNER, [], Claim((queue,), 1)).leases
        record = Record(message.id, Document(message.id, "FAILURE").encode())
        app.broker.exchange(OWNER, [Commit(lease.token, Bury(reason, "Traceback ..."), record)])
        return message

    return bury


def test_a_fresh_message_is_as_first_sent_and_for_now(make_message):
    message = make_message(
        retries=2,
        eta="2026-01-02T03:04:05+00:00",
        expires="2026-01-02T03:04:05+00:00",
        celeriac_unknown_since=5.0,
        x=1,
        priority=4,
    )
    again = fresh(message)
    assert again.headers == {"lang": "py", "task": "unit.job", "id": "id-1", "retries": 0, "x": 1}
    assert (again.retries, again.eta, again.expires) == (0, None, None)
    assert (again.body, again.priority) == (message.body, 4)


def test_letters_are_listed_newest_first(letters, bury):
    for number in range(3):
        bury(id=f"id-{number}")
    assert [letter.task_id for letter in letters.list()] == ["id-2", "id-1", "id-0"]
    assert [letter.task_id for letter in letters.list(limit=1)] == ["id-2"]


def test_letters_of_one_queue(letters, bury):
    bury("mail", id="id-1")
    bury("celery", id="id-2")
    assert [letter.task_id for letter in letters.list("mail")] == ["id-1"]


def test_a_letter_tells_why(letters, bury):
    bury()
    (letter,) = letters.list()
    assert (letter.task, letter.reason, letter.detail, letter.queue) == (
        "unit.job",
        "ValueError('why')",
        "Traceback ...",
        "celery",
    )
    assert letters.get(letter.id) == letter
    assert letters.get(letter.id + 1) is None


def test_a_letter_that_is_sent_again_waits_in_its_queue(app, letters, bury):
    bury("mail", retries=3)
    (letter,) = letters.list()
    assert letters.retry(letter)
    assert letters.list() == []
    (message,) = app.broker.peek("mail")
    assert (message.id, message.retries) == ("id-1", 0)


def test_its_old_result_is_forgotten(app, letters, bury):
    bury()
    assert app.AsyncResult("id-1").state == "FAILURE"
    letters.retry(letters.list()[0])
    assert app.AsyncResult("id-1").state == "PENDING"


def test_the_new_result_is_kept_however_soon_it_comes(app, letters, bury, monkeypatch):
    bury()
    exhume = app.broker.exhume

    def exhume_and_run(*arguments):
        sent = exhume(*arguments)
        app.results.store([Record("id-1", Document("id-1", "SUCCESS").encode())])
        return sent

    monkeypatch.setattr(app.broker, "exhume", exhume_and_run)
    assert letters.retry(letters.list()[0])
    assert app.AsyncResult("id-1").state == "SUCCESS"


def test_a_letter_is_sent_again_once(app, letters, bury):
    bury()
    (letter,) = letters.list()
    assert letters.retry(letter)
    assert not letters.retry(letter)
    assert len(app.broker.peek("celery")) == 1


def test_a_letter_that_cannot_be_read_cannot_be_sent_again(app, letters, bury, monkeypatch):
    bury()
    (letter,) = letters.list()
    broken = type(letter)(**{name: getattr(letter, name) for name in letter.__slots__} | {"raw": b"\xff"})
    with pytest.raises(DecodeError, match=f"dead letter {letter.id} cannot be sent again.*not JSON"):
        letters.retry(broken)
    assert len(letters.list()) == 1


def test_letters_are_dropped(letters, bury):
    for number in range(3):
        bury(id=f"id-{number}")
    chosen = [letter.id for letter in letters.list()][:2]
    assert letters.drop([*chosen, 999]) == 2
    assert [letter.task_id for letter in letters.list()] == ["id-0"]
