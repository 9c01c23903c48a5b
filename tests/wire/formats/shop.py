"""Exceptions of an application, known to both sides."""


class OutOfStock(Exception):
    """Pickles."""


class TwoParts(Exception):
    """Cannot be unpickled: takes other arguments than it keeps."""

    def __init__(self, sku, left):
        super().__init__(f"{sku}: {left}")
