"""What an application's settings amount to: times, what is accepted, how results are kept."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import TYPE_CHECKING

from celeriac.clock import Clock, utc
from celeriac.settings import Settings

if TYPE_CHECKING:
    from celeriac.documents import Document

__all__ = ["Derived"]


class Derived:
    """The part of `Celery` that is computed from its settings."""

    conf: Settings
    clock: Clock

    @property
    def timezone(self) -> tzinfo:
        """The zone of naive times."""
        from zoneinfo import ZoneInfo

        name = self.conf.timezone
        if name is not None:
            return ZoneInfo(name)
        return UTC if self.conf.enable_utc else datetime.now().astimezone().tzinfo or UTC

    def uses_utc_timezone(self) -> bool:
        """Whether naive times are in UTC."""
        return self.timezone == UTC or self.conf.timezone == "UTC"

    def now(self) -> datetime:
        """The present time in the application's time zone."""
        return utc(self.clock.time()).astimezone(self.timezone)

    @property
    def accept(self) -> frozenset[str]:
        """The content types of `accept_content`."""
        return _content_types(tuple(self.conf["accept_content"]))

    @property
    def result_accept(self) -> frozenset[str]:
        """The content types of `result_accept_content`, or of `accept_content`."""
        names = self.conf.result_accept_content
        return self.accept if names is None else _content_types(tuple(names))

    @property
    def result_ttl_s(self) -> float | None:
        """Seconds that a result is kept; None: for ever."""
        return self.conf["result_expires"] or None

    @property
    def failure_ttl_s(self) -> float | None:
        """The same, of failures."""
        failures = self.conf["result_failure_expires"]
        return self.result_ttl_s if failures is None else failures or None

    def encode_document(self, document: Document) -> bytes:
        """A result document as it is stored."""
        return document.encode(self.conf["result_serializer"], self.conf["result_compression"])

    def decode_document(self, task_id: str, raw: bytes) -> Document:
        """A stored result document; raises `ResultError`."""
        from celeriac.documents import Document

        return Document.decode(task_id, raw, self.conf.result_serializer, self.result_accept)


@cache
def _content_types(names: tuple[str, ...]) -> frozenset[str]:
    from celeriac.serialization import content_type_of

    return frozenset(map(content_type_of, names))
