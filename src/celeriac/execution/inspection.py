"""What a message must be before its task is begun, and what follows a run before it is committed.

Found out later, the one would cost a run whose effects nobody undoes, and the other the result of a run that was fine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from celeriac.exceptions import DecodeError, EncodeError
from celeriac.execution.failures import safe_repr
from celeriac.messages import Body, Outgoing, encode

__all__ = ["check_followers", "check_limits", "check_writable"]

#: More than whoever writes a message to a store is deeper in the stack than the run that caused it.
_DEEPER = 40


def check_followers(body: Body) -> None:
    """Callbacks and errbacks are lists of signatures; raises `DecodeError`."""
    for name in ("callbacks", "errbacks"):
        value = body.embed.get(name)
        if not value:
            continue
        if not isinstance(value, (list, tuple)):
            raise DecodeError(f"the body's {name} are {safe_repr(value, 100)}, not a list of signatures")
        for one in value:
            if not isinstance(one, Mapping) or not isinstance(one.get("task"), str):
                raise DecodeError(f"the body's {name} have {safe_repr(one, 100)}, which is no signature")


def check_limits(headers: Mapping[str, Any]) -> None:
    """The time limits are two numbers of seconds, or null; raises `DecodeError`."""
    limits = headers.get("timelimit")
    if limits is None:
        return
    if not isinstance(limits, (list, tuple)) or len(limits) > 2 or not all(map(_is_limit, limits)):
        raise DecodeError(f"header 'timelimit' is {safe_repr(limits, 100)}, not [seconds, seconds]")


def check_writable(outgoing: Outgoing) -> Outgoing:
    """A message that a run causes can be stored; raises `EncodeError` (a name with half a character, say)."""
    try:
        _from_deeper(_DEEPER, lambda: encode(outgoing))
    except Exception as error:  # whatever it is, it would be the same in the store
        raise EncodeError(f"task {safe_repr(outgoing.message.task, 100)} cannot be sent: {safe_repr(error)}") from None
    return outgoing


def _from_deeper(frames: int, call: Callable[[], object]) -> None:
    """Call it so much deeper in the stack. How deeply nested a value may be that is written depends on that."""
    if frames > 0:
        _from_deeper(frames - 1, call)
    else:
        call()


def _is_limit(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
