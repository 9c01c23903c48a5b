import copy
import json
import pickle

import pytest

from celeriac import Celery, Signature, maybe_signature, signature, subtask
from celeriac.exceptions import InvalidTaskError, NotRegistered
from celeriac.messages import decode_body
from celeriac.result import AsyncResult
from support.celery_oracle import ask_celery

JSON = frozenset({"application/json"})


@pytest.fixture
def add(recording_app):
    return recording_app.task(lambda x, y=0: x + y, name="unit.add")


@pytest.fixture
def body(sent):
    """The arguments of the one message that was sent."""
    return lambda: decode_body(sent().message, JSON)


# ── as Celery has it ──

#: Expressions of a signature, each with what may follow it.
EXPRESSIONS = [
    "add.s()",
    "add.s(1, y=2)",
    "add.si(1, 2)",
    "add.signature((1,), {'y': 2}, countdown=10)",
    "add.signature((1,), {'y': 2}, {'queue': 'mail'}, priority=3, immutable=True)",
    "add.subtask((1,))",
    "app.signature('unit.other', (1,), {'k': 2}, {'queue': 'mail'})",
    "app.signature('unit.other', args=(1,), immutable=True, countdown=3)",
    "signature('unit.other', args=[1, 2])",
    "add.s(1).set(queue='mail', countdown=5)",
    "add.s(1).set(immutable=True)",
    "add.s(1).set(immutable=True).set(immutable=False, priority=1)",
    "add.s(1).clone()",
    "add.s(1).clone((2,), {'y': 3}, queue='mail')",
    "add.s(1).clone(args=(2,))",
    "add.si(1).clone((2,), {'y': 3}, queue='mail')",
    "add.s(1).set(queue='a').clone(queue='b')",
    "add.s(1).set(group_id='g').clone(group_id='h')",
    "add.s(1).partial((5,))",
    "add.s(1).replace(args=(7,))",
    "add.s(1).set(queue='a').replace(kwargs={'y': 2}, options={'countdown': 1})",
    "linked('link')",
    "linked('link_error')",
    "linked_twice()",
    "add.s(1).on_error(add.s(2))",
    "frozen()",
    "frozen(group_id='g', root_id='r', parent_id='p', chord={'task': 'c'}, group_index=3)",
    "refrozen()",
    "Signature.from_dict({'task': 'unit.add', 'args': [1], 'kwargs': {}, 'options': {}})",
    "Signature.from_dict(add.si(1))",
    "maybe_signature({'task': 'unit.add', 'args': [1]})",
]

HELPERS = """
def linked(method):
    sig = add.s(1)
    getattr(sig, method)(add.s(2))
    return sig

def linked_twice():
    sig = add.s(1)
    sig.link(add.s(2)); sig.link(add.s(2)); sig.link(add.s(3))
    return sig

def frozen(**settled):
    sig = add.s(1)
    sig.freeze('id-1', **settled)
    return sig

def refrozen():
    sig = frozen(group_id='g')
    sig.freeze('id-2', group_id='h')
    return sig
"""

CELERYS_SIGNATURES = """
from celery import Celery, Signature, signature
from celery.canvas import maybe_signature
app = Celery("oracle", broker="memory://", set_as_current=True)
@app.task(name="unit.add")
def add(x, y=0): return x + y
exec(given[0])
answer = [json.loads(json.dumps(dict(eval(expression)))) for expression in given[1]]
"""


@pytest.fixture(scope="module")
def celerys_signatures():
    return dict(zip(EXPRESSIONS, ask_celery(CELERYS_SIGNATURES, [HELPERS, EXPRESSIONS]), strict=True))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_signature_is_the_dictionary_that_celery_makes(recording_app, add, celerys_signatures, expression):
    names = {
        "app": recording_app,
        "add": add,
        "Signature": Signature,
        "signature": signature,
        "maybe_signature": maybe_signature,
    }
    exec(HELPERS, names)
    ours = json.loads(json.dumps(eval(expression, names)))
    theirs = celerys_signatures[expression]
    theirs.get("options", {}).pop("reply_to", None)  # where Celery's process hears of results, with its rpc:// backend
    assert set(ours) == set(theirs)
    assert ours == theirs


# ── making ──


def test_a_signature_is_of_a_task_or_a_name(add):
    assert signature(add, args=(1,)) == signature("unit.add", args=(1,)) == add.s(1)
    assert subtask is signature


@pytest.mark.parametrize("task", [None, "", 5])
def test_a_signature_of_nothing_is_refused(task):
    with pytest.raises(InvalidTaskError, match="needs a task or the name of one"):
        Signature(task)


def test_a_signature_of_a_signature_is_a_copy(add):
    first = add.s(1)
    second = signature(first)
    second.set(queue="mail")
    assert first.options == {}


def test_a_kind_that_is_not_known_here_is_refused():
    with pytest.raises(InvalidTaskError, match="chain"):
        Signature.from_dict({"task": "celery.chain", "subtask_type": "chain"})


def test_maybe_signature_leaves_none_and_signatures_as_they_are(add):
    sig = add.s(1)
    assert maybe_signature(None) is None
    assert maybe_signature(sig) is sig
    assert maybe_signature(sig, clone=True) is not sig


def test_parts_are_attributes(add):
    sig = add.signature((1,), {"y": 2}, immutable=True, queue="mail")
    assert (sig.task, sig.args, sig.kwargs, sig.options) == ("unit.add", (1,), {"y": 2}, {"queue": "mail"})
    assert (sig.immutable, sig.subtask_type, sig.id, sig.parent_id, sig.root_id) == (True, None, None, None, None)
    assert sig.type is add


def test_the_task_of_a_name_that_nobody_knows_is_an_error(recording_app):
    with pytest.raises(NotRegistered, match=r"unit\.other"):
        _ = recording_app.signature("unit.other").type


def test_a_signature_shows_the_call(add):
    assert repr(add.s(1, y="a")) == "unit.add(1, y='a')"
    assert add.s(1).reprcall(0, y=2) == "unit.add(0, 1, y=2)"


# ── calling ──


def test_a_signature_that_is_called_runs_here(add, recording_broker):
    assert add.s(2)(1) == 3
    assert add.si(1, 2)(5) == 3
    assert recording_broker.calls == []


def test_arguments_of_the_call_come_before_its_own(add, body):
    add.s(2).delay(1)
    assert (body().args, body().kwargs) == ([1, 2], {})


def test_keywords_of_the_call_win_over_its_own(add, body):
    add.s(y=2).delay(1, y=5)
    assert (body().args, body().kwargs) == ([1], {"y": 5})


def test_an_immutable_one_takes_no_arguments_but_options(add, body, sent):
    add.si(1, 2).apply_async((7,), {"y": 7}, queue="mail")
    assert (body().args, body().kwargs, sent().queue) == ([1, 2], {}, "mail")


def test_options_of_the_call_win_over_its_own(add, sent):
    add.s(1).set(queue="a", priority=1).apply_async(queue="b")
    assert (sent().queue, sent().message.priority) == ("b", 1)


def test_calling_leaves_the_signature_as_it_was(add):
    sig = add.s(1)
    before = copy.deepcopy(dict(sig))
    sig.apply_async((5,), queue="mail")
    assert sig == before


def test_arguments_are_checked_against_the_function(add, recording_broker):
    with pytest.raises(TypeError, match="too many positional"):
        add.s(1, 2).delay(3)
    assert recording_broker.calls == []


def test_a_name_that_nobody_knows_is_sent_all_the_same(recording_app, sent, body):
    result = recording_app.signature("unit.other", (1,), queue="mail").delay(0)
    assert (sent().message.task, sent().queue, body().args) == ("unit.other", "mail", [0, 1])
    assert sent().message.id == result.id


def test_apply_runs_it_here_with_all_that_a_worker_does(add):
    result = add.s(2).apply((1,))
    assert (result.state, result.get()) == ("SUCCESS", 3)


def test_callbacks_travel_in_the_body(add, body):
    add.apply_async((1,), link=add.s(2), link_error=[add.si(3)])
    assert [one["args"] for one in body().embed["callbacks"]] == [[2]]
    assert [one["immutable"] for one in body().embed["errbacks"]] == [True]


def test_a_signature_as_an_argument_arrives_as_its_dictionary(add, body):
    add.delay(add.s(1))
    assert Signature.from_dict(body().args[0]) == {**add.s(1), "args": [1]}


def test_chains_are_refused_with_what_to_do(add):
    with pytest.raises(TypeError, match=r"a\.link\(b\)"):
        add.s(1) | add.s(2)


def test_the_inverted_signature_is_its_result(make_app):
    app = make_app()
    app.conf.task_always_eager = True
    add = app.task(lambda x, y: x + y, name="unit.add")
    assert ~add.s(1, 2) == 3


# ── freezing ──


def test_a_frozen_signature_is_sent_under_the_id_that_was_told(add, sent):
    sig = add.s(1)
    result = sig.freeze()
    assert isinstance(result, AsyncResult)
    sig.delay()
    assert sent().message.id == result.id == sig.id


# ── changing ──


def test_link_gives_the_callback_and_on_error_the_signature(add):
    sig, callback = add.s(1), add.s(2)
    assert sig.link(callback) is callback
    assert sig.link_error(callback) is callback
    assert sig.on_error(callback) is sig


def test_the_same_callback_is_linked_once(add):
    sig = add.s(1)
    sig.link(add.s(2))
    sig.link(add.s(2))
    assert len(sig.options["link"]) == 1


def test_flatten_links_lists_all_callbacks(add):
    one, two, three = add.s(1), add.s(2), add.s(3)
    one.link(two)
    two.link(three)
    assert one.flatten_links() == [one, two, three]


def test_a_clone_shares_no_options(add):
    sig = add.s(1).set(headers={"a": 1})
    clone = sig.clone()
    clone.set(queue="mail")
    clone.options["headers"]["a"] = 2
    assert sig.options == {"headers": {"a": 1}}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_a_copy_is_equal_and_a_signature(add, duplicate):
    sig = add.s(1, y=2).set(queue="mail")
    made = duplicate(sig)
    assert made == sig
    assert isinstance(made, Signature)
    assert made.type is add


def test_a_pickled_signature_finds_its_app_again(make_app, add):
    again = pickle.loads(pickle.dumps(add.s(1).set(queue="mail")))
    assert isinstance(again, Signature)
    assert again == add.s(1).set(queue="mail")
    other = make_app("other")
    assert again.app is other


def test_a_signature_survives_json(recording_app, add, body):
    again = Signature.from_dict(json.loads(json.dumps(add.si(1, y=2))), app=recording_app)
    again.delay(5)
    assert (body().args, body().kwargs) == ([1], {"y": 2})


def test_a_signature_of_its_own_app_is_sent_by_that_app(add, recording_broker):
    Celery("another", broker="memory://")
    add.s(1).delay()
    assert len(recording_broker.published) == 1
