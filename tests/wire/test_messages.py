"""Messages as Celery 5.7 publishes them (record_golden.py), read and written by us."""

import ast
import base64
import datetime
import json
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from celeriac import Celery
from celeriac.messages import EMBED, Message, Outgoing, decode, decode_body, encode, encode_body
from celeriac.testing.clock import ManualClock

CASES = {
    case["name"]: case
    for case in json.loads((Path(__file__).parent / "golden" / "messages.json").read_text(encoding="ascii"))
}
ACCEPT = frozenset({"application/json"})
CLOCK = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)
RETRIED = ", published again by self.retry(exc=error, countdown=30)"
NAMES = {"datetime": datetime, "Decimal": Decimal, "UUID": UUID}


def golden(name) -> Message:
    message = decode(CASES[name]["raw"].encode("ascii"))
    assert isinstance(message, Message)
    return message


def the_call(case):
    """What the recorded call says: positional arguments, keyword arguments, options."""
    call = ast.parse(case["call"].removesuffix(RETRIED), mode="eval").body
    values = [_value(argument) for argument in call.args]
    if call.func.attr == "send_task":
        values = values[1:]
    options = {keyword.arg: _value(keyword.value) for keyword in call.keywords}
    args = values[0] if values else ()
    kwargs = values[1] if len(values) > 1 else options.pop("kwargs", {})
    return list(args), kwargs, options


def _value(written):
    text = ast.unparse(written)
    return None if text.startswith("tasks.") else eval(text, NAMES)


def as_read(value):
    """JSON has no tuples."""
    return json.loads(json.dumps(value, default=repr))


@pytest.mark.parametrize("name", CASES)
def test_celerys_message_is_read(name):
    message = golden(name)
    headers = json.loads(CASES[name]["raw"])["headers"]
    assert (message.id, message.task, message.retries) == (headers["id"], headers["task"], headers["retries"])
    assert message.headers == headers
    assert message.properties["reply_to"]


@pytest.mark.parametrize("name", CASES)
def test_celerys_arguments_are_read(name):
    args, kwargs, _ = the_call(CASES[name])
    body = decode_body(golden(name), ACCEPT)
    assert as_read(body.args) == as_read(args)
    assert as_read(body.kwargs) == as_read(kwargs)


def test_tagged_arguments_come_back_of_their_types():
    [[*values]] = decode_body(golden("tagged types"), ACCEPT).args
    assert [type(value) for value in values] == [
        datetime.datetime,
        datetime.date,
        datetime.time,
        Decimal,
        UUID,
        bytes,
        bytes,
    ]


@pytest.mark.parametrize(
    ("name", "eta", "expires"),
    [
        ("countdown", CLOCK + datetime.timedelta(seconds=60), None),
        ("eta aware", datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC), None),
        ("eta naive", datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC), None),
        ("expires seconds", None, CLOCK + datetime.timedelta(seconds=120)),
        ("expires date", None, datetime.datetime(2100, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)),
        ("args", None, None),
    ],
)
def test_celerys_times_are_read(name, eta, expires):
    message = golden(name)
    assert (message.eta, message.expires) == (eta, expires)


@pytest.mark.parametrize(("name", "priority"), [("args", 0), ("priority 3", 3), ("priority 5", 5), ("priority 9", 9)])
def test_celerys_priority_is_read(name, priority):
    assert golden(name).priority == priority


def test_celerys_retried_message_counts_its_retries():
    assert golden("retry").retries == 1


def test_callbacks_are_kept_as_they_are():
    embed = decode_body(golden("link and link_error"), ACCEPT).embed
    assert [callback["task"] for callback in embed["callbacks"]] == ["tasks.echo"]
    assert [callback["args"] for callback in embed["errbacks"]] == [["failed"]]


def body_bytes(envelope):
    if envelope["properties"].get("body_encoding") == "base64":
        return base64.b64decode(envelope["body"])
    return envelope["body"].encode()


def contents(body):
    """What a body says, as Celery's workers read it: what follows the task and is left out is nothing."""
    args, kwargs, embed = json.loads(body)
    return args, kwargs, {**dict.fromkeys(EMBED), **embed}


@pytest.mark.parametrize("name", CASES)
def test_reading_and_writing_keeps_headers_and_body(name):
    before = json.loads(CASES[name]["raw"])
    after = json.loads(encode(Outgoing(golden(name), CASES[name]["key"])))
    for part in ("headers", "content-type", "content-encoding"):
        assert after[part] == before[part]
    assert body_bytes(after) == body_bytes(before)
    for name_of in ("correlation_id", "reply_to"):
        assert after["properties"][name_of] == before["properties"][name_of]
    assert after["properties"].get("priority", 0) == before["properties"]["priority"]


@pytest.mark.parametrize("name", CASES)
def test_a_body_is_written_as_celery_writes_it(name):
    message = golden(name)
    written = encode_body(decode_body(message, ACCEPT), compression=message.headers.get("compression"))
    assert written.data == message.body


# ── our own, beside Celery's ──

OURS = {"countdown", "eta", "expires", "ignore_result", "priority", "queue", "task_id"}
SAME_CALL = [
    name
    for name in CASES
    if name not in ("retry", "ignore_result by the task") and the_call(CASES[name])[2].keys() <= OURS
]


def ours(name):
    """The envelope that we make of the same call."""
    case = CASES[name]
    golden_headers = json.loads(case["raw"])["headers"]
    args, kwargs, options = the_call(case)
    app = Celery("tasks", broker=":memory:", clock=ManualClock(CLOCK.timestamp()))
    sent = []
    app.publisher.publish = lambda outgoing, policy=None: sent.append(outgoing)
    task = app.task(name=golden_headers["task"], typing=False)(print)
    task.apply_async(args, kwargs, **{"task_id": golden_headers["id"], **options})
    return json.loads(encode(sent[0]))


@pytest.mark.parametrize("name", SAME_CALL)
def test_we_send_what_celery_sends(name):
    mine, celerys = ours(name), json.loads(CASES[name]["raw"])
    assert contents(body_bytes(mine)) == contents(body_bytes(celerys))
    assert (mine["content-type"], mine["content-encoding"]) == (celerys["content-type"], celerys["content-encoding"])
    for header, value in mine["headers"].items():
        if header not in ("origin", "ignore_result", "eta"):
            assert value == celerys["headers"][header], header
    for header in celerys["headers"].keys() - mine["headers"].keys():
        # Left out: what Celery does without when it is null, and what is only for people to look at.
        assert celerys["headers"][header] in (None, 0, {}, [None, None]) or header in ("argsrepr", "kwargsrepr"), header
    # Celery leaves a naive time as it is, and reads it as UTC.
    assert decode(json.dumps(mine).encode()).eta == golden(name).eta
    assert mine["headers"]["ignore_result"] == bool(celerys["headers"]["ignore_result"])
    assert mine["properties"].get("priority", 0) == celerys["properties"]["priority"]
    assert mine["properties"]["correlation_id"] == celerys["properties"]["correlation_id"]


def test_most_recorded_calls_are_compared():
    assert len(SAME_CALL) >= 18
