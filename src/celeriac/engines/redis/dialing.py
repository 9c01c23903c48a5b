"""Opening a TCP connection by a deadline, which `socket.create_connection` does not keep.

It asks the resolver without one, so a name server that is away would hold us for half a minute, and gives each address of
a name the whole time.
"""

from __future__ import annotations

import socket
import time
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

__all__ = ["dial"]

#: Family, type, protocol, canonical name, address.
_Found = list[tuple[Any, ...]]


def dial(host: str, port: int, deadline: float) -> socket.socket:
    """A connected socket; raises `OSError` by the deadline (of `time.monotonic`). The name is looked up each time."""
    found = _look_up(host, port, deadline)
    trouble: OSError = OSError(f"{host} has no address")
    for number, (family, kind, protocol, _, where) in enumerate(found):
        share_s = (deadline - time.monotonic()) / (len(found) - number)
        end = socket.socket(family, kind, protocol)
        try:
            end.settimeout(max(0.01, share_s))
            end.connect(where)
            return end
        except OSError as error:
            end.close()
            trouble = error
        except BaseException:
            end.close()
            raise
    raise trouble


def _look_up(host: str, port: int, deadline: float) -> _Found:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        pass  # a name
    answer: SimpleQueue[_Found | OSError] = SimpleQueue()
    Thread(target=_ask_resolver, args=(host, port, answer), name="celeriac-resolver", daemon=True).start()
    try:
        found = answer.get(timeout=max(0.01, deadline - time.monotonic()))
    except Empty:
        raise TimeoutError(f"the name {host} could not be looked up in time") from None
    if isinstance(found, OSError):
        raise found
    return found


def _ask_resolver(host: str, port: int, answer: SimpleQueue[_Found | OSError]) -> None:
    try:
        answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError as error:
        answer.put(error)
    except UnicodeError:  # labels too long, or empty
        answer.put(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
