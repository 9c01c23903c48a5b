"""The released Celery and kombu, asked line by line what they write and read. Run by `.peers/celery-formats`.

A request is a JSON object: `do` names a function here, the rest are its arguments; bytes are base64, Python values are
their source text. The answer is a JSON object as well.
"""

import base64
import datetime
import json
import sys
from decimal import Decimal
from uuid import UUID

from celery import Celery
from celery.app.task import Context
from celery.backends.base import KeyValueStoreBackend
from kombu import compression, serialization
from kombu.transport.memory import Channel

from wire.formats import shop

NAMES = {"datetime": datetime, "Decimal": Decimal, "UUID": UUID, "shop": shop}
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def value_of(text):
    return eval(text, NAMES)


def dump(value, serializer):
    content_type, content_encoding, data = serialization.dumps(value_of(value), serializer)
    return {"content_type": content_type, "content_encoding": content_encoding, "data": as_text(data)}


def load(data, content_type, content_encoding):
    return {"value": repr(serialization.loads(as_bytes(data), content_type, content_encoding, accept={content_type}))}


def compress(data, name):
    compressed, content_type = compression.compress(as_bytes(data), name)
    return {"content_type": content_type, "data": as_text(compressed)}


def decompress(data, content_type):
    return {"data": as_text(compression.decompress(as_bytes(data), content_type))}


def publish(args, kwargs, serializer, compression):
    """The envelope that lies in the queue."""
    app = Celery("oracle", broker="memory://", set_as_current=False)
    app.send_task("tasks.echo", value_of(args), value_of(kwargs), serializer=serializer, compression=compression)
    return {"raw": json.dumps(Channel.queues["celery"].get_nowait())}


def receive(raw, accept):
    """The body as a worker sees it."""
    app = Celery("oracle", broker="memory://", set_as_current=False)
    with app.connection_for_read() as connection:
        message = connection.default_channel.message_to_python(json.loads(raw))
        message.accept = set(accept)
        if message.errors:
            message._reraise_error()
        return {"value": repr(message.decode())}


class Store(KeyValueStoreBackend):
    """As the Redis back end, but in memory."""

    supports_result_compression = True

    def __init__(self, serializer, compression, extended):
        app = Celery("oracle", set_as_current=False)
        app.conf.update(
            accept_content=["json", "yaml", "msgpack", "pickle"],
            result_compression=compression,
            result_extended=extended,
            result_serializer=serializer,
        )
        app.now = lambda: NOW
        super().__init__(app=app)
        self.kept = {}

    def get(self, key):
        return self.kept.get(key)

    def set(self, key, value):
        self.kept[key] = value


def store(state, result, serializer, compression=None, extended=None):
    """The bytes that lie under a task's id."""
    backend = Store(serializer, compression, extended is not None)
    request = Context(id="id-1", children=[], **(extended or {}))
    backend.store_result("id-1", value_of(result), state, request=request)
    (raw,) = backend.kept.values()
    return {"raw": as_text(raw)}


def fetch(raw, serializer):
    """What a caller sees."""
    meta = Store(serializer, None, extended=False).decode_result(as_bytes(raw))
    return {"value": repr(meta)}


def as_text(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode("ascii")


def as_bytes(text):
    return base64.b64decode(text)


if __name__ == "__main__":
    FUNCTIONS = {f.__name__: f for f in (dump, load, compress, decompress, publish, receive, store, fetch)}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = FUNCTIONS[request.pop("do")](**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
