import functools
import gc
import logging
import threading
from unittest import mock

import pytest

from celeriac import dispatch, signals
from celeriac.signals import Signal
from support.celery_oracle import ask_celery

# Run by both sides; each `see` is compared. `Signal` is the side's own.
SCENARIO = """
seen = []
see = lambda *what: seen.append(repr(what))
signal = Signal(name="unit", providing_args={"x"})

class Sender: pass
class Listener:
    def hear(self, sender, x=None, **more): see("method", x); return x

def first(sender, x=None, **more): see("first", x); return x
def second(signal, sender, x=None, **more): see("second", x, signal is globals()["signal"]); return x
def failing(**more): raise LookupError("why")

def calls(sender=None, x=0):
    return [(getattr(receiver, "__name__", "?"), repr(answer)) for receiver, answer in signal.send(sender, x=x)]

one, other = Sender(), Sender()
see(signal.has_listeners(), bool(signal.receivers), calls())

see(signal.connect(first) is first, signal.has_listeners(), bool(signal.receivers))
signal.connect(first)
see(calls(x=1), calls(one, x=2))
see(signal.disconnect(first), signal.disconnect(first), calls())

decorated = signal.connect(sender=one, weak=False)(second)
see(decorated is second, signal.has_listeners(), signal.has_listeners(one), signal.has_listeners(other))
see(calls(one), calls(other), calls())
see(signal.disconnect(second), signal.disconnect(second, sender=one), calls(one))

signal.connect(first, sender="proj." + str("add"))
see(calls("".join(["proj", ".add"])), calls("proj.mul"))
see(signal.disconnect(first, sender="proj.add"))

@signal.connect("proj.named")
def named(**more): see("named")
see(calls("proj.named"), calls("proj.mul"), signal.disconnect(named, "proj.named"))

signal.connect(failing); signal.connect(first)
see(calls(x=3)); see([type(answer).__name__ for _, answer in signal.send_robust(sender=None)])
see(signal.disconnect(failing), signal.disconnect(first))

signal.connect(first, dispatch_uid="uid"); signal.connect(second, dispatch_uid="uid")
see(calls()); see(signal.disconnect(first), signal.disconnect(dispatch_uid="uid"), calls())

signal.connect(first); signal.connect(first, sender=one)
see(calls(one), calls(other), signal.disconnect(first), calls(one), signal.disconnect(first, sender=one))

listener = Listener()
signal.connect(listener.hear)
see(calls(x=4)); del listener
see(calls(x=5), signal.has_listeners())

def connect_local(weak):
    def local(**more): see("local")
    signal.connect(local, weak=weak)
connect_local(True); see(calls())
connect_local(False); see(calls()); signal.receivers = type(signal.receivers)()
see(calls())

two = [Listener(), Listener()]
for each in two: signal.connect(each.hear)
see(len(calls(x=6))); see(signal.disconnect(two[0].hear), len(calls(x=7)))
see(signal.disconnect(two[1].hear))

def narrow(sender): pass
for bad in (narrow, len):
    try: signal.connect(bad)
    except ValueError as error: see("refused")
    else: see("connected")
see(sorted(signal.providing_args), signal.name, calls())
answer = seen
"""


@pytest.fixture
def signal():
    return Signal(name="unit", providing_args={"x"})


def accept(**_more):
    return "accepted"


def test_receivers_are_connected_called_and_disconnected_as_by_celery(caplog):
    caplog.set_level(logging.CRITICAL)
    ours = {"Signal": Signal}
    exec(SCENARIO, ours)
    theirs = ask_celery(f"from celery.utils.dispatch import Signal\n{SCENARIO}")
    assert ours["answer"] == theirs


def test_all_of_celerys_signals_are_here_under_their_names_with_their_arguments():
    names, arguments = ask_celery(
        "from celery import signals\n"
        "found = {name: s for name, s in vars(signals).items() if isinstance(s, signals.Signal)}\n"
        "answer = sorted(signals.__all__), {name: sorted(s.providing_args) for name, s in found.items()}"
    )
    assert sorted(set(signals.__all__) - {"Signal"}) == names
    assert len(names) == 31
    for name, celerys in arguments.items():
        ours = getattr(signals, name)
        assert ours.name == name
        assert ours.providing_args >= set(celerys)


def test_a_signal_that_nobody_listens_to_has_an_empty_tuple_of_receivers(signal):
    assert signal.receivers == ()
    signal.connect(accept)
    assert signal.receivers
    signal.disconnect(accept)
    assert signal.receivers == ()


def test_a_receiver_that_raises_is_logged_with_its_traceback_and_its_exception_is_its_answer(signal, caplog):
    error = LookupError("why")

    def failing(**_more):
        raise error

    signal.connect(failing)
    signal.connect(accept)
    assert signal.send("sender") == [(failing, error), (accept, "accepted")]
    (record,) = caplog.records
    assert record.name == "celeriac.signals"
    assert "failing of signal unit raised LookupError('why')" in record.getMessage()
    assert record.exc_info[1] is error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_is_meant_to_end_the_process_is_not_held_up(signal, error):
    def ending(**_more):
        raise error

    signal.connect(ending)
    with pytest.raises(error):
        signal.send(None)


class Asynchronous:
    async def __call__(self, **more): ...

    async def hear(self, **more): ...


async def asynchronous(**_more): ...


@pytest.mark.parametrize(
    "receiver",
    [asynchronous, Asynchronous(), Asynchronous().hear, functools.partial(asynchronous, x=1)],
    ids=["function", "object", "method", "partial"],
)
def test_a_coroutine_function_is_refused(signal, receiver):
    with pytest.raises(TypeError, match="is a coroutine function: nobody would await it"):
        signal.connect(receiver, weak=False)
    assert signal.receivers == ()


def test_a_receiver_without_keywords_is_refused_by_name(signal):
    def narrow(sender): ...

    with pytest.raises(ValueError, match=r"narrow must take \*\*kwargs to receive signal unit"):
        signal.connect(narrow)


def test_a_decorated_receiver_counts_as_its_decorator_does(signal):
    def narrow(): ...

    @functools.wraps(narrow)
    def wide(**_more):
        return "wide"

    signal.connect(wide)
    assert signal.send(None) == [(wide, "wide")]


def test_callable_objects_may_be_receivers(signal):
    receiver = mock.Mock(return_value=7)
    signal.connect(receiver)
    assert signal.send("sender", x=1) == [(receiver, 7)]
    receiver.assert_called_once_with(signal=signal, sender="sender", x=1)


def test_a_receiver_that_cannot_be_held_weakly_is_told_how_to_connect(signal):
    class Slotted:
        __slots__ = ()

        def __call__(self, **more): ...

    receiver = Slotted()
    with pytest.raises(TypeError, match="connect it to signal unit with weak=False"):
        signal.connect(receiver)
    signal.connect(receiver, weak=False)
    assert signal.has_listeners()


def test_a_dead_receiver_is_dropped_by_the_next_send(signal):
    def local(**_more): ...

    signal.connect(local)
    del local
    gc.collect()
    assert signal.send(None) == []
    assert signal.receivers == ()


def test_a_sender_is_not_kept_alive_and_leaves_its_receivers_to_nobody(signal):
    class Sender: ...

    sender = Sender()
    signal.connect(accept, sender=sender)
    signal.connect(accept, sender=Sender)
    del sender
    gc.collect()
    signal.disconnect(accept, sender="unrelated")
    assert len(signal.receivers) == 1
    assert signal.has_listeners(Sender)


def test_receivers_may_connect_and_disconnect_while_the_signal_is_sent(signal):
    def once(**_more):
        signal.disconnect(once)
        signal.connect(accept)
        return "once"

    signal.connect(once)
    assert signal.send(None) == [(once, "once")]
    assert signal.send(None) == [(accept, "accepted")]


def test_threads_may_connect_and_disconnect_while_another_sends(signal):
    signal.connect(accept)
    start = threading.Barrier(4)
    failures = []

    def churn(number):
        try:
            start.wait(30)
            for _ in range(300):
                receiver = functools.partial(accept, number=number)
                signal.connect(receiver, weak=number == 0)
                signal.disconnect(receiver)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    start.wait(30)
    while any(thread.is_alive() for thread in threads):
        assert (accept, "accepted") in signal.send(None)
    for thread in threads:
        thread.join()
    assert failures == []
    assert signal.send(None) == [(accept, "accepted")]


def test_with_retry_a_receiver_is_called_until_it_succeeds_with_celerys_waits(signal, monkeypatch, caplog):
    waits = []
    monkeypatch.setattr(dispatch, "sleep", waits.append)
    errors = [ConnectionError(number) for number in range(17)]

    def connect_to_database(x, **_more):
        if errors:
            raise errors.pop()
        return x

    signal.connect(connect_to_database, retry=True)
    assert signal.send(None, x=5) == [(connect_to_database, 5)]
    assert waits == [*range(2, 31, 2), 30, 30]
    assert "it is called again in 2 s" in caplog.messages[0]


def test_with_retry_the_receiver_is_held_strongly_and_disconnected_as_any_other(signal):
    def local(**_more):
        return "local"

    identity = id(local)
    assert signal.connect(local, retry=True) is local
    del local
    gc.collect()
    ((receiver, answer),) = signal.send(None)
    assert (id(receiver), answer) == (identity, "local")
    assert signal.disconnect(receiver)
    assert not signal.has_listeners()


def test_a_signal_shows_its_name_and_arguments(signal):
    assert repr(signal) == "<Signal unit (x)>"
