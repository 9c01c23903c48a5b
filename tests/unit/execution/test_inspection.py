import pytest

from celeriac.exceptions import DecodeError
from celeriac.execution.inspection import check_followers, check_limits
from celeriac.messages import Body

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
