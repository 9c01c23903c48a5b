"""What is stored under a task's id: `Document`.

A document is a mapping of status, result, traceback, children, date_done, task_id (celery 5.7, celery/backends/base.py),
written by the result serializer and perhaps compressed. It does not say by which serializer: readers have the same
setting. How it is compressed stands before the compressed bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from celeriac import serialization, states
from celeriac.compression import compress, decompress
from celeriac.documents.errors import rebuild_exception
from celeriac.exceptions import DecodeError, ResultError

__all__ = ["Document"]

#: Before the content type of the compression, a NUL and the compressed bytes. No serializer's output begins so.
_COMPRESSED = b"\0celery-compressed\0"
_JSON_ONLY = frozenset({serialization.JSON_TYPE})


class Document(msgspec.Struct, frozen=True, gc=False):
    """What is known of one task. `result` is the value, the described exception, or a custom state's meta.

    `name` and what follows it are there when `result_extended` is set; without a name none of them is written.
    """

    task_id: str
    status: str
    result: Any = None
    traceback: str | None = None
    date_done: str | None = None
    children: list[Any] = msgspec.field(default_factory=list)
    parent_id: str | None = None
    group_id: str | None = None
    name: str | None = None
    args: Any = None
    kwargs: Any = None
    worker: str | None = None
    retries: int | None = None
    queue: str | None = None

    def encode(self, serializer: str = "json", compression: str | None = None) -> bytes:
        """The document as bytes; raises `EncodeError` when the result cannot be written."""
        data = serialization.encode(self.content(), serializer).data
        if compression is None:
            return data
        content_type, compressed = compress(data, compression)
        return b"".join((_COMPRESSED, content_type.encode("ascii"), b"\0", compressed))

    @classmethod
    def decode(
        cls, task_id: str, raw: bytes, serializer: str = "json", accept: frozenset[str] = _JSON_ONLY
    ) -> Document:
        """The document in these bytes; raises `ResultError` naming the task.

        Nothing is read of a serializer whose content type is not in `accept`.
        """
        content_type = serialization.content_type_of(serializer)
        if content_type not in accept:
            raise ResultError(
                f"the stored result of {task_id} is not read: result_serializer is {serializer!r}, and "
                f"result_accept_content (else accept_content) allows only {', '.join(sorted(accept))}"
            )
        try:
            content = serialization.decode(_decompressed(raw), content_type)
        except DecodeError as error:
            raise ResultError(f"the stored result of {task_id} cannot be read: {error}") from None
        if not isinstance(content, dict) or not isinstance(content.get("status"), str):
            raise ResultError(f"the stored result of {task_id} is not a result document")
        return cls._of_content(task_id, content)

    @property
    def ready(self) -> bool:
        """Whether the task has ended."""
        return self.status in states.READY_STATES

    def value(self) -> Any:
        """The result as the task's caller sees it: an exception where one is stored."""
        if self.status in states.EXCEPTION_STATES:
            return rebuild_exception(self.result, self.traceback)
        return self.result

    def content(self) -> dict[str, Any]:
        """As a mapping, in Celery's order, so that its bytes are Celery's."""
        content = {
            "status": self.status,
            "result": self.result,
            "traceback": self.traceback,
            "children": self.children,
            "date_done": self.date_done,
        }
        if self.group_id is not None:
            content["group_id"] = self.group_id
        if self.parent_id is not None:
            content["parent_id"] = self.parent_id
        if self.name is not None:
            content["name"] = self.name
            content["args"] = self.args
            content["kwargs"] = self.kwargs
            content["worker"] = self.worker
            content["retries"] = self.retries
            content["queue"] = self.queue
        content["task_id"] = self.task_id
        return content

    @classmethod
    def _of_content(cls, task_id: str, content: Mapping[str, Any]) -> Document:
        return cls(
            task_id=task_id,
            status=content["status"],
            result=content.get("result"),
            traceback=content.get("traceback"),
            date_done=content.get("date_done"),
            children=content.get("children") or [],
            parent_id=content.get("parent_id"),
            group_id=content.get("group_id"),
            name=content.get("name"),
            args=content.get("args"),
            kwargs=content.get("kwargs"),
            worker=content.get("worker"),
            retries=content.get("retries"),
            queue=content.get("queue"),
        )


def _decompressed(raw: bytes) -> bytes:
    if not raw.startswith(_COMPRESSED):
        return raw
    content_type, _, body = raw[len(_COMPRESSED) :].partition(b"\0")
    return decompress(body, content_type.decode("utf-8", "replace"))
