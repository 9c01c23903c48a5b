"""What a message calls its task with, to be shown."""

from __future__ import annotations

from typing import Any

from celeriac import messages, serialization
from celeriac.exceptions import DecodeError
from celeriac.messages import Malformed

__all__ = ["arguments_of"]


def arguments_of(raw: bytes) -> dict[str, Any]:
    """Retries and arguments of a message as it lies in a store, or its bytes where it cannot be read."""
    message = messages.decode(raw)
    if isinstance(message, Malformed):
        return {"bytes": repr(raw[:200])}
    # Only to look at: what runs code when it is read (a pickle) is not read for that, whether or not it is accepted.
    accept = frozenset({message.content_type} if serialization.is_plain(message.content_type) else ())
    try:
        body = messages.decode_body(message, accept)
    except DecodeError:
        return {"body": repr(message.body[:200])}
    shown = {"args": body.args, "kwargs": body.kwargs}
    if serialization.unencodable(shown) is not None:
        shown = {name: repr(value) for name, value in shown.items()}
    return {"retries": message.retries, **shown}
