import bisect

import pytest

from celeriac.exceptions import DecodeError, EncodeError
from celeriac.execution.inspection import check_followers, check_limits, check_writable
from celeriac.messages import Body, Message, Outgoing, encode

SIGNATURE = {"task": "a.b", "args": []}


@pytest.mark.parametrize("name", ["callbacks", "errbacks"])
@pytest.mark.parametrize("value", [None, [], [SIGNATURE], (SIGNATURE, SIGNATURE)])
def test_lists_of_signatures_may_follow(name, value):
    check_followers(Body([], {}, {name: value}))


@pytest.mark.parametrize("name", ["callbacks", "errbacks"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (5, "are 5, not a list of signatures"),
        (SIGNATURE, "are {.*}, not a list of signatures"),
        ("a.b", "are 'a.b', not a list"),
        (["a.b"], "have 'a.b', which is no signature"),
        ([SIGNATURE, None], "have None, which is no signature"),
        ([{"args": []}], "have {'args': .*}, which is no signature"),
        ([{"task": 5}], "have {'task': 5}, which is no signature"),
    ],
)
def test_nothing_else_may_follow(name, value, reason):
    with pytest.raises(DecodeError, match=f"the body's {name} {reason}"):
        check_followers(Body([], {}, {name: value}))


@pytest.mark.parametrize("limits", [None, [], [None, None], [60, 0.5], (60,), [0, 0]])
def test_time_limits_are_up_to_two_numbers(limits):
    check_limits({"timelimit": limits})


@pytest.mark.parametrize(
    "limits", [5, "60", {"a": 1}, ["60", None], [True, None], [-1, None], [1, 2, 3], [float("inf")]]
)
def test_other_time_limits_are_refused(limits):
    with pytest.raises(DecodeError, match=r"header 'timelimit' is .*, not "):
        check_limits({"timelimit": limits})


def nested_message(depth):
    value = None
    for _ in range(depth):
        value = {"a": value}
    return Outgoing(Message(id="id-1", task="a.b", body=b"[]", headers={"shadow": value}), "celery")


def writes_deeper(frames, outgoing):
    return encode(outgoing) if frames == 0 else writes_deeper(frames - 1, outgoing)


def passes(depth):
    try:
        check_writable(nested_message(depth))
    except EncodeError:
        return False
    return True


def test_what_can_just_be_written_here_can_be_written_by_who_stands_deeper_in_the_stack():
    """The courier writes what a run has caused when the run has ended well, and cannot be told that it fails."""
    deepest = bisect.bisect_left(range(20_000), True, key=lambda depth: not passes(depth)) - 1
    assert deepest > 100
    assert writes_deeper(25, nested_message(deepest))
