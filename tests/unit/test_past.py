import pytest

from celeriac.exceptions import TimeLimitExceeded, WorkerLostError
from celeriac.past import NO_PAST, Loss, Past, story


def test_what_has_happened_is_added_at_the_end():
    past = NO_PAST.then("a").then("b", interrupted=True).then("c", loss=Loss("why"))
    assert past == Past(1, ("a", "b", "c"), Loss("why"))


def test_a_loss_stays():
    assert NO_PAST.then("a", loss=Loss("why")).then("b").loss == Loss("why")


def test_a_history_is_bounded():
    past = NO_PAST
    for number in range(100):
        past = past.then(f"{number} " + "x" * 100_000)
    assert [entry.split()[0] for entry in past.history] == [str(number) for number in range(90, 100)]
    assert len(past.encode()) < 50_000


@pytest.mark.parametrize("past", [NO_PAST, Past(3, ("a\n“b”",), Loss("why", 2.5)), Past(loss=Loss("why"))])
def test_it_is_read_as_it_was_written(past):
    assert Past.decode(past.encode()) == Past.decode(past.encode().encode()) == past


def test_half_characters_are_written_as_escapes():
    past = NO_PAST.then("caf\udce9")
    assert Past.decode(past.encode()).history == ("caf\\udce9",)


@pytest.mark.parametrize("text", [None, "", b"", "{", "[]", '{"history": 5}', b"\xff", "2"])
def test_what_cannot_be_read_is_no_past(text):
    assert Past.decode(text) == NO_PAST


def test_what_a_newer_version_adds_is_left_out():
    assert Past.decode('{"interruptions": 2, "more": 5}') == Past(2)


def test_a_loss_is_the_exception_that_the_run_has_failed_with():
    assert (type(Loss("why").error()), Loss("why").error().args) == (WorkerLostError, ("why",))
    assert (type(Loss("why", 2.5).error()), Loss("why", 2.5).error().args) == (TimeLimitExceeded, (2.5,))


def test_a_story_is_the_history_and_what_else_there_is():
    assert story(NO_PAST) == ""
    assert story(NO_PAST, "Traceback") == "Traceback"
    assert story(Past(history=("a", "b")), "Traceback") == "a\n\nb\n\nTraceback"
