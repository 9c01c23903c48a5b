"""What only a worker imports, while it runs a task."""


class Surprise(Exception):
    pass
