"""Each line marked WRONG must be an error for type checkers, and no other may be. Checked, not run."""

from __future__ import annotations

from typing import Any

from celeriac import Celery, Task, shared_task

app = Celery("shop")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(bind=True)
def bound(self: Task, x: int) -> int:
    return x


@shared_task
def shared(x: int) -> int:
    return x


def wrong_arguments() -> None:
    add.delay("1", 2)  # WRONG
    add.delay(1)  # WRONG
    add.delay(1, 2, 3)  # WRONG
    add.delay(1, z=2)  # WRONG
    add("1", 2)  # WRONG
    bound.delay("1")  # WRONG
    bound.delay(bound, 1)  # WRONG
    shared.delay("1")  # WRONG


def wrong_options() -> None:
    add.apply_async((1, 2), countdown="soon")  # WRONG
    add.apply_async((1, 2), priority="high")  # WRONG
    add.apply_async((1, 2), cuntdown=3)  # WRONG
    add.delay_many([(1, 2)], queu="slow")  # WRONG


def wrong_results() -> None:
    text: str = add.delay(1, 2).get()  # WRONG
    number: int = fetch.delay("url").get()  # WRONG
    print(text, number)


async def wrong_awaits() -> None:
    await add(1, 2)  # WRONG
    data: bytes = fetch("url")  # WRONG
    await add.adelay("1", 2)  # WRONG
    print(data)


def wrong_tasks() -> None:
    @app.task(bind=True)  # WRONG
    def without_self(x: int) -> int:
        return x

    @shared_task(bind=True)  # WRONG
    def shared_without_self(x: int) -> int:
        return x

    app.task("name")  # WRONG
    shared_task(1)  # WRONG
    print(without_self, shared_without_self)


def wrong_names(task: Task[..., Any]) -> None:
    task.request.tries = 3  # WRONG
    task.dely(1)  # WRONG
    add.delay(1, 2).gett()  # WRONG
