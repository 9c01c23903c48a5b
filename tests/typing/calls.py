"""What type checkers make of tasks and of calling them. Checked, not run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from celeriac import AsyncResult, Celery, Signature, Task, shared_task
from celeriac.result import EagerResult

app = Celery("shop")


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(queue="mail", max_retries=5, autoretry_for=(ConnectionError,))
def send(to: str, *, subject: str) -> None: ...


@app.task(bind=True, acks_late=False)
def again(self: Task, number: int) -> str:
    assert_type(self.request.retries, int)
    assert_type(self.request.id, str | None)
    if number < 0:
        raise self.retry(countdown=10, exc=ValueError(number))
    self.update_state(state="PROGRESS", meta={"done": number})
    return self.name


@app.task(bind=True)
async def again_later(self: Task[..., Any], number: int) -> float:
    return number / 2


@app.task(bind=True)
def loosely(self: Any, x: int) -> int:
    return x + int(self.request.headers["more"])


@shared_task
def shared(x: int) -> str:
    return str(x)


@shared_task
async def shared_fetch(url: str) -> bytes:
    return url.encode()


@shared_task(name="shop.shared", ignore_result=True)
def shared_with_options(x: int) -> list[int]:
    return [x]


@shared_task(bind=True)
def shared_bound(self: Task, x: int) -> int:
    return x + self.request.retries


def calling() -> None:
    assert_type(add(1, 2), int)
    assert_type(add.delay(1, y=2), AsyncResult[int])
    assert_type(add.delay(1).get(timeout=1), int)
    assert_type(add.apply_async((1, 2), countdown=3, queue="slow"), AsyncResult[int])
    assert_type(add.apply_async(kwargs={"x": 1}, expires=timedelta(hours=1), priority=3).get(), int)
    assert_type(add.delay_many([(1, 2), {"x": 3}], countdown=1), list[AsyncResult[int]])
    assert_type(add.apply((1, 2)), EagerResult[int])
    assert_type(add.apply((1, 2)).get(), int)
    assert_type(add.AsyncResult("id").get(), int)
    assert_type(send.delay("ann", subject="hello").get(), None)
    assert_type(app.send_task("shop.add", (1, 2)), AsyncResult[Any])


def calling_bound() -> None:
    assert_type(again(3), str)
    assert_type(again.delay(3).get(), str)
    assert_type(again.delay(number=3), AsyncResult[str])
    assert_type(again_later.delay(3).get(), float)
    assert_type(loosely.delay(3).get(), int)


def calling_shared() -> None:
    assert_type(shared.delay(1).get(), str)
    assert_type(shared_fetch.delay("url").get(), bytes)
    assert_type(shared_with_options.delay(1).get(), list[int])
    assert_type(shared_bound.delay(1).get(), int)


async def awaiting() -> None:
    assert_type(await fetch("url"), bytes)
    assert_type(await again_later(1), float)
    assert_type(await fetch.delay("url"), bytes)
    assert_type(await add.adelay(1, 2), AsyncResult[int])
    assert_type(await (await add.adelay(1)), int)
    assert_type(await add.delay(1).aget(timeout=1), int)
    assert_type(await shared_fetch("url"), bytes)


def signatures() -> None:
    assert_type(add.s(1, 2), Signature[int])
    assert_type(add.s(1, 2).delay(), AsyncResult[int])
    assert_type(add.si(1, 2).apply_async().get(), int)
    assert_type(add.signature((1,), countdown=3), Signature[int])
    assert_type(add.s(1).set(queue="slow").clone((2,)), Signature[int])
    assert_type(~add.s(1, 2), int)
    assert_type(add.s(1, 2)(), int)
    assert_type(fetch.s("url").freeze(), AsyncResult[bytes])
    assert_type(add.s(), Signature[Any])  # what is missing comes from whoever calls it
    add.apply_async((1, 2), link=send.s(subject="sum"), link_error=again.si(1))


def results(any_result: AsyncResult, any_signature: Signature) -> None:
    assert_type(any_result.get(), Any)
    assert_type(any_signature.delay(), AsyncResult[Any])
    result = add.delay(1)
    assert_type(result.id, str)
    assert_type(result.state, str)
    assert_type(result.ready(), bool)
    assert_type(result.traceback, str | None)
    assert_type(result.then(print), AsyncResult[int])
    assert_type(app.AsyncResult("id"), AsyncResult[Any])
