"""Announcing something to whoever has connected: `Signal`, which the signals of `signals.py` and of applications are."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable, Iterable
from time import sleep
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    import logging

__all__ = ["Signal"]


Receiver = TypeVar("Receiver", bound=Callable[..., Any])


class Signal:
    """Something that is announced, and who listens. Threads may connect and disconnect while others send.

    `receivers` is for the truth test in front of `send`; its items are nobody else's business. `providing_args` names
    what the signal brings along, for the reader: nothing checks it.
    """

    def __init__(self, providing_args: Iterable[str] = (), *, name: str | None = None) -> None:
        self.name = name
        self.providing_args = frozenset(providing_args)
        self.receivers: tuple[_Connection, ...] = ()
        # Reentrant: a change can set off the garbage collector, and a destructor may disconnect.
        self._changing = threading.RLock()

    @overload
    def connect(
        self,
        receiver: Receiver,
        sender: object = None,
        weak: bool = True,
        dispatch_uid: Hashable = None,
        retry: bool = False,
    ) -> Receiver: ...

    @overload
    def connect(
        self,
        receiver: str | None = None,
        sender: object = None,
        weak: bool = True,
        dispatch_uid: Hashable = None,
        retry: bool = False,
    ) -> Callable[[Receiver], Receiver]: ...

    def connect(
        self,
        receiver: Any = None,
        sender: object = None,
        weak: bool = True,
        dispatch_uid: Hashable = None,
        retry: bool = False,
    ) -> Any:
        """Have `receiver(signal=, sender=, **arguments)` called from now on; also a decorator, with or without options.

        With `sender` only what that object sends; for the publish signals it is the task's name. The receiver is held
        weakly: pass `weak=False` for one that nothing else refers to (a lambda, a local function). Connecting again what
        is connected, or another receiver under the same `dispatch_uid`, changes nothing. With `retry=True` a receiver
        that raises is called again, after 2, 4, ... 30 seconds, until it succeeds; the sending thread waits meanwhile,
        and the receiver is held strongly. Raises `ValueError` for a receiver without `**kwargs`, `TypeError` for a
        coroutine function.
        """
        if receiver is not None and not callable(receiver):
            receiver, sender = None, receiver  # @after_task_publish.connect("proj.add")

        def connect(receiver: Receiver) -> Receiver:
            self._check(receiver)
            connection = _Connection(
                key=_key(receiver, sender, dispatch_uid),
                sender=_reference(sender),
                receiver=self._receiver_reference(receiver, weak and not retry),
                retry=retry,
            )
            with self._changing:
                living = self._living()
                known = any(other.key == connection.key for other in living)
                self.receivers = living if known else (*living, connection)
            return receiver

        return connect if receiver is None else connect(receiver)

    def disconnect(
        self, receiver: Callable[..., Any] | None = None, sender: object = None, *, dispatch_uid: Hashable = None
    ) -> bool:
        """Undo a `connect` with the same receiver (or `dispatch_uid`) and sender; whether there was one."""
        key = _key(receiver, sender, dispatch_uid)
        with self._changing:
            living = self._living()
            self.receivers = tuple(connection for connection in living if connection.key != key)
            return len(self.receivers) < len(living)

    def has_listeners(self, sender: object = None) -> bool:
        """Whether sending from this sender would call anyone."""
        return any(connection.receiver() is not None for connection in self._listening(sender))

    def send(self, sender: object, **named: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Call the receivers, in the order in which they connected, and return each with its answer.

        One that raises is logged, its exception is its answer, and the others are called all the same.
        """
        answers: list[tuple[Callable[..., Any], Any]] = []
        for connection in self._listening(sender):
            receiver = connection.receiver()
            if receiver is None:
                self._bury_the_dead()
                continue
            try:
                call = self._call_until_it_succeeds if connection.retry else _call
                answer = call(receiver, signal=self, sender=sender, **named)
            except Exception as error:
                _logger().exception("receiver %s of signal %s raised %r", _called(receiver), self.name, error)
                answer = error
            answers.append((receiver, answer))
        return answers

    #: The same: no receiver ever stops the others.
    send_robust = send

    def _listening(self, sender: object) -> Iterable[_Connection]:
        connections = self.receivers
        if not connections:
            return ()
        identity = _identity(sender)
        return [connection for connection in connections if connection.key[1] in (None, identity)]

    def _living(self) -> tuple[_Connection, ...]:
        return tuple(connection for connection in self.receivers if connection.is_alive())

    def _bury_the_dead(self) -> None:
        # Not at any price: whoever is changing the receivers drops the dead as well, and a sender does not wait.
        if self._changing.acquire(blocking=False):
            try:
                self.receivers = self._living()
            finally:
                self._changing.release()

    def _check(self, receiver: Callable[..., Any]) -> None:
        from inspect import iscoroutinefunction

        if iscoroutinefunction(receiver) or iscoroutinefunction(type(receiver).__call__):
            raise TypeError(
                f"{_called(receiver)} is a coroutine function: nobody would await it. Receivers of signal {self.name} are "
                "plain functions; have one start the coroutine (asyncio.run) if it must"
            )
        if not _accepts_any_keyword(receiver):
            raise ValueError(
                f"{_called(receiver)} must take **kwargs to receive signal {self.name}: a signal may bring more arguments "
                "in a later version"
            )

    def _receiver_reference(self, receiver: Receiver, weak: bool) -> Callable[[], Receiver | None]:
        if not weak:
            return lambda: receiver
        try:
            return _weak(receiver)
        except TypeError:
            raise TypeError(
                f"{_called(receiver)} cannot be held weakly; connect it to signal {self.name} with weak=False"
            ) from None

    def _call_until_it_succeeds(self, receiver: Callable[..., Any], **named: Any) -> Any:
        from celeriac.retries import RetryPolicy

        # After 2, 4, ... 30, 30, ... seconds, as Celery does.
        policy = RetryPolicy(max_retries=None, interval_start_s=2, interval_step_s=2, interval_max_s=30)
        attempt = 0
        while True:
            try:
                return receiver(**named)
            except Exception as error:
                attempt += 1
                delay_s = policy.delay_s(attempt) or 0.0
                _logger().error(  # a traceback each half minute for hours says no more than the first line
                    "receiver %s of signal %s raised %r; it is called again in %g s",
                    _called(receiver),
                    self.name,
                    error,
                    delay_s,
                )
            sleep(delay_s)

    def __repr__(self) -> str:
        return f"<Signal {self.name} ({', '.join(sorted(self.providing_args))})>"


class _Connection:
    """One receiver. `key` is whose receiver it is (or its `dispatch_uid`), and the identity of the sender it wants."""

    __slots__ = ("key", "receiver", "retry", "sender")

    def __init__(
        self,
        key: tuple[Hashable, Hashable],
        sender: Callable[[], object],
        receiver: Callable[[], Callable[..., Any] | None],
        retry: bool,
    ) -> None:
        self.key = key
        self.sender = sender
        self.receiver = receiver
        self.retry = retry

    def is_alive(self) -> bool:
        # A sender that is gone leaves its identity to some later object, which must not inherit its receivers.
        return self.receiver() is not None and (self.key[1] is None or self.sender() is not None)


def _key(receiver: Callable[..., Any] | None, sender: object, dispatch_uid: Hashable) -> tuple[Hashable, Hashable]:
    return (("uid", dispatch_uid) if dispatch_uid is not None else _identity(receiver), _identity(sender))


def _identity(target: object) -> Hashable:
    if target is None or isinstance(target, (str, bytes)):
        return target  # a task's name arrives as another string than the one that was connected
    if isinstance(target, MethodType):
        return (id(target.__self__), id(target.__func__))
    return id(target)


def _reference(sender: object) -> Callable[[], object]:
    try:
        return _weak(sender)
    except TypeError:  # strings, numbers
        return lambda: sender


def _weak(target: Any) -> Callable[[], Any]:
    # A bound method is made anew at each access: what must live is the object it belongs to.
    return weakref.WeakMethod(target) if isinstance(target, MethodType) else weakref.ref(target)


def _call(receiver: Callable[..., Any], **named: Any) -> Any:
    return receiver(**named)


def _accepts_any_keyword(receiver: Callable[..., Any]) -> bool:
    import inspect

    # The code first: a decorated function has the decorator's **kwargs and shows the signature of what it wraps.
    code = getattr(receiver, "__code__", None)
    if code is not None:
        return bool(code.co_flags & inspect.CO_VARKEYWORDS)
    parameters = inspect.signature(receiver).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _logger() -> logging.Logger:
    import logging

    return logging.getLogger("celeriac.signals")


def _called(receiver: Callable[..., Any]) -> str:
    name = getattr(receiver, "__qualname__", None)
    return f"{receiver.__module__}.{name}" if name else repr(receiver)
