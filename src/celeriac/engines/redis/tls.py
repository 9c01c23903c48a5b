"""TLS to a Redis server. Imported when an address asks for it: Python's ssl module is a megabyte and 3 ms of every start."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

from celeriac.engines.redis.urls import Address
from celeriac.exceptions import ConfigError, OperationalError

__all__ = ["securing"]

#: By Celery's words, and by the numbers of the ssl module's constants.
_CERTIFICATES = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
    "0": ssl.CERT_NONE,
    "1": ssl.CERT_OPTIONAL,
    "2": ssl.CERT_REQUIRED,
}


def securing(address: Address) -> Callable[[socket.socket], socket.socket]:
    """What makes a connected socket to this address a secure one. Raises `ConfigError`."""
    context = _context(address.tls)

    def secure(plain: socket.socket) -> socket.socket:
        try:
            return context.wrap_socket(plain, server_hostname=address.host)
        except ssl.SSLError as error:
            raise OperationalError(
                f"{address} cannot be reached by TLS: {error.strerror or error}. Does it speak TLS there, and does "
                "ssl_ca_certs (or this machine) trust its certificate?"
            ) from None

    return secure


def _context(options: Any) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        wanted = str(options.get("ssl_cert_reqs", "required")).lower().removeprefix("cert_")
        checks_name = str(options.get("ssl_check_hostname", "true")).lower() not in ("false", "0", "no")
        context.check_hostname = checks_name and _CERTIFICATES[wanted] is not ssl.CERT_NONE
        context.verify_mode = _CERTIFICATES[wanted]
        if options.get("ssl_certfile"):
            context.load_cert_chain(
                options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_keyfile_password")
            )
    except KeyError:
        raise ConfigError(f"redis option ssl_cert_reqs is {wanted!r}; it can be none, optional or required") from None
    except OSError as error:
        raise ConfigError(f"the TLS files of the redis URL cannot be used: {error}") from None
    return context
