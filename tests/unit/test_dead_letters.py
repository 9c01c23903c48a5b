import pytest

from celeriac.dead_letters import DeadLetters, Wanted, edited, fresh
from celeriac.documents import Document
from celeriac.engines.base import Bury, Claim, Commit, DeadLetter, Node, Owner, Receipt, Record
from celeriac.engines.disabled import DisabledResults
from celeriac.exceptions import DecodeError
from celeriac.messages import Body, Outgoing, decode_body, encode_body

OWNER = Owner("node", 1)


@pytest.fixture
def letters(app):
    return DeadLetters(app)


@pytest.fixture
def bury(app, make_message):
    app.broker.register(Node(OWNER.node, "celery@unit", "unit", 4321, "prefork", 1, ("celery",)))

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


def test_letters_are_found_by_all_that_is_given(letters, bury):
    bury("mails", id="id-1", task="mails.send", reason="ConnectionError('mail server')")
    bury("mails", id="id-2", task="mails.sort", reason="ValueError('x')")
    bury("celery", id="id-3", task="pages.draw", reason="ConnectionError('web server')")
    found = {
        name: [letter.task_id for letter in letters.find(**wanted)]
        for name, wanted in {
            "queue": {"queue": "mails"},
            "task": {"task": "mails.send"},
            "tasks": {"task": "mails.*"},
            "reason": {"reason": "connectionerror"},
            "both": {"reason": "connection", "queue": "celery"},
            "none": {"task": "mails"},
        }.items()
    }
    assert found == {
        "queue": ["id-2", "id-1"],
        "task": ["id-1"],
        "tasks": ["id-2", "id-1"],
        "reason": ["id-3", "id-1"],
        "both": ["id-3"],
        "none": [],
    }


def test_letters_are_found_by_their_age():
    letter = DeadLetter(1, "celery", "id-1", "unit.job", "why", "", 1000.0, 1, b"")
    assert Wanted(older_than_s=60).holds(letter, 1060.0)
    assert not Wanted(older_than_s=60).holds(letter, 1059.0)
    assert Wanted(newer_than_s=60).holds(letter, 1060.0)
    assert not Wanted(newer_than_s=60).holds(letter, 1061.0)


def test_there_may_be_any_number_of_letters_and_they_may_go_meanwhile(letters, bury):
    for number in range(230):
        bury(id=f"id-{number}")
    seen = []
    for letter in letters:
        seen.append(letter.task_id)
        letters.drop([letter.id])
    assert seen == [f"id-{number}" for number in reversed(range(230))]


def test_a_letter_may_be_changed_before_it_is_sent_again(app, letters, bury):
    bury(args=[1, 2], kwargs={"x": 1}, argsrepr="(1, 2)", trace="abc", shadow="other")
    (letter,) = letters.list()
    assert letters.retry(letter, args=[3], queue="mails", priority=7, headers={"trace": "def", "shadow": None})
    (message,) = app.broker.peek("mails")
    body = decode_body(message, app.accept)
    assert (body.args, body.kwargs) == ([3], {"x": 1})
    assert (message.id, message.priority, message.headers["trace"]) == ("id-1", 7, "def")
    assert not {"shadow", "argsrepr"} & message.headers.keys()


def test_what_follows_a_task_stays_when_its_arguments_are_changed(app, make_message):
    body = encode_body(Body([1], {}, {"callbacks": [{"task": "unit.next"}]}), compression="gzip")
    message = make_message().with_body(body)
    again = edited(message, app.accept, None, {"y": 2})
    assert decode_body(again, app.accept).embed["callbacks"] == [{"task": "unit.next"}]
    assert decode_body(again, app.accept).kwargs == {"y": 2}
    assert again.headers["compression"] == message.headers["compression"]


def test_arguments_that_may_not_be_read_may_not_be_changed(letters, bury):
    bury(content_type="application/x-python-serialize", body=b"\x80\x04.")
    (letter,) = letters.list()
    with pytest.raises(DecodeError, match="not accepted"):
        letters.retry(letter, args=[1])
    assert len(letters.list()) == 1


def test_of_two_who_send_it_at_once_one_does_and_the_new_result_stands(app, letters, bury, monkeypatch):
    """The other comes before the first has sent it, and a worker is done before the first goes on."""
    bury()
    (letter,) = letters.list()
    exhume, sent = app.broker.exhume, []

    def other_first(*arguments):
        monkeypatch.setattr(app.broker, "exhume", exhume)
        sent.append(DeadLetters(app).retry(letter))
        app.results.store([Record("id-1", Document("id-1", "SUCCESS").encode())])
        return exhume(*arguments)

    monkeypatch.setattr(app.broker, "exhume", other_first)
    assert not letters.retry(letter)
    assert sent == [True]
    assert app.AsyncResult("id-1").state == "SUCCESS"
    assert len(app.broker.peek("celery")) == 1


def test_letters_can_be_sent_again_where_no_results_are_kept(app, letters, bury):
    bury()
    app.stores._results = DisabledResults()
    assert letters.retry(letters.list()[0])


def test_the_application_has_them(app, bury):
    bury()
    assert [letter.task_id for letter in app.dead_letters] == ["id-1"]
    assert app.dead_letters.trimmed == 0
    app.broker.trim_dead(3600, 0)
    assert app.dead_letters.trimmed == 1
