"""What the names of tasks, runs, calls, signatures and results promise, where no other test shows it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from celeriac import AsyncResult, Celery, Signature, Task, maybe_signature, signature, subtask
from celeriac.exceptions import CeleriacWarning, Ignore, IncompleteStream, Reject
from celeriac.messages import decode_body
from celeriac.result import EagerResult, allow_join_result

Seen = list[tuple[Any, ...]]


@pytest.fixture
def eager(app: Celery) -> Celery:
    """Calls run at once, through a message and its serializer."""
    app.conf.task_always_eager = True
    return app


@pytest.fixture
def request_of(eager: Celery) -> Any:
    """What a run sees of how it was called: `request_of("shadow", shadow="other")`."""

    @eager.task(name="names.look", bind=True, typing=False)
    def look(self: Task, *_args: Any, **_kwargs: Any) -> None:
        seen.append({name: getattr(self.request, name) for name in wanted})

    seen: list[dict[str, Any]] = []
    wanted: list[str] = []

    def ask(names: str, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        wanted[:] = names.split()
        look.apply_async(args, kwargs, **options)
        values = [seen[-1][name] for name in wanted]
        return values[0] if len(values) == 1 else values

    return ask


def _peek(app: Celery, result: AsyncResult[Any]) -> Any:
    return next(message for message in app.broker.peek("celery", 100) if message.id == result.id)


# ── handlers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_handlers_are_called_in_celerys_order_with_celerys_arguments(app: Celery) -> None:
    seen: Seen = []

    class Told(Task):
        abstract = True

        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            seen.append(("before_start", task_id, list(args), kwargs))

        def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
            seen.append(("on_success", retval, task_id))

        def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            seen.append(("on_failure", type(exc), task_id, einfo is not None))

        def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            seen.append(("on_retry", str(exc), task_id))

        def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            seen.append(("after_return", status, task_id))

    @app.task(base=Told, bind=True, max_retries=1)
    def job(self: Task, how: str) -> str:
        if how == "retry" and not self.request.retries:
            raise self.retry(exc=ValueError("again"))
        if how == "fail":
            raise KeyError(how)
        return how

    job.apply(("good",), task_id="1")
    assert seen == [
        ("before_start", "1", ["good"], {}),
        ("on_success", "good", "1"),
        ("after_return", "SUCCESS", "1"),
    ]
    seen.clear()
    job.apply(("fail",), task_id="2")
    assert seen[1:] == [("on_failure", KeyError, "2", True), ("after_return", "FAILURE", "2")]
    seen.clear()
    job.apply(("retry",), task_id="3")
    assert ("on_retry", "again", "3") in seen
    assert seen[-1] == ("after_return", "SUCCESS", "3")


def test_a_class_hears_when_a_task_of_it_is_bound(app: Celery) -> None:
    bound: list[str | None] = []

    class Base(Task):
        @classmethod
        def on_bound(cls, app: Celery) -> None:
            bound.append(app.main)

    app.task(base=Base)(lambda: None)
    assert bound == ["names"]


def test_a_class_may_name_its_calls(eager: Celery) -> None:
    class Named(Task):
        def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str:
            return f"{self.name} of {args[0]}"

    @eager.task(base=Named, bind=True, name="names.job")
    def job(self: Task, x: int) -> str | None:
        return self.request.shadow

    assert job.delay(3).get() == "names.job of 3"


# ── within a run ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_task_takes_the_place_of_one_that_replaces_itself(app: Celery) -> None:
    replaced: list[str] = []

    class Told(Task):
        def on_replace(self, sig: Signature) -> None:
            replaced.append(sig.task)
            super().on_replace(sig)

    @app.task(name="names.other")
    def other(x: int) -> int:
        return x * 2

    @app.task(bind=True, base=Told)
    def job(self: Task, x: int) -> int:
        self.replace(other.s(x))

    assert job.apply((4,)).get() == 8
    assert replaced == ["names.other"]


def test_a_run_can_be_made_a_signature_of(app: Celery) -> None:
    @app.task(bind=True, name="names.job")
    def job(self: Task, x: int) -> Any:
        return dict(self.signature_from_request())

    made = job.apply((4,), task_id="1").get()
    assert (made["task"], list(made["args"]), made["options"]["task_id"]) == ("names.job", [4], "1")


def test_ignore_and_reject_end_a_run_without_a_result(app: Celery) -> None:
    @app.task
    def job(kind: str) -> None:
        raise Ignore if kind == "ignore" else Reject("no", requeue=False)

    assert [job.apply((kind,)).state for kind in ("ignore", "reject")] == ["IGNORED", "REJECTED"]


# ── options of tasks ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_errors_listed_are_retried_and_others_are_not(app: Celery) -> None:
    runs: list[str] = []

    @app.task(
        autoretry_for=(OSError,),
        dont_autoretry_for=(PermissionError,),
        retry_kwargs={"max_retries": 2},
        retry_backoff=True,
        retry_backoff_max=5,
        retry_jitter=False,
        default_retry_delay=1,
    )
    def job(error: str) -> None:
        runs.append(error)
        raise {"os": OSError, "permission": PermissionError, "value": ValueError}[error]

    for error in ("os", "permission", "value"):
        assert job.apply((error,)).failed()
    assert runs == ["os", "os", "os", "permission", "value"]


def test_tasks_that_keep_no_trail_have_no_children(eager: Celery) -> None:
    @eager.task
    def child() -> None: ...

    @eager.task(bind=True)
    def parent(self: Task) -> int:
        child.delay()
        child.apply_async(add_to_parent=False)
        return len(self.request.children)

    @eager.task(bind=True, trail=False)
    def without(self: Task) -> int:
        child.delay()
        return len(self.request.children)

    assert parent.delay().get() == 1
    assert without.delay().get() == 0


def test_a_filter_makes_something_else_of_a_task(app: Celery) -> None:
    @app.task(filter=lambda task: (task.name, "filtered"), shared=False, lazy=False, name="names.job")
    def job() -> None: ...

    assert job == ("names.job", "filtered")  # type: ignore[comparison-overlap]


def test_eager_results_are_stored_where_that_is_wanted(app: Celery) -> None:
    @app.task(store_eager_result=True)
    def job() -> int:
        return 3

    assert app.AsyncResult(job.apply(task_id="stored").id).get(timeout=5) == 3


def test_what_a_task_says_holds_for_its_calls(app: Celery) -> None:
    @app.task(serializer="json", compression="gzip", expires=60, time_limit=9, soft_time_limit=8, priority=4)
    def job() -> None: ...

    message = _peek(app, job.delay())
    assert (message.headers["compression"], message.priority) == ("application/x-gzip", 4)
    assert list(message.headers["timelimit"]) == [9, 8]
    assert message.expires is not None


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("backend", "redis://"),
        ("exchange_type", "topic"),
        ("acks_on_failure", False),
        ("rate_limit", "1/s"),
        ("send_events", False),
        ("Strategy", "a:b"),
        ("Request", "a:b"),
    ],
)
def test_an_option_without_effect_says_so(app: Celery, option: str, value: Any) -> None:
    with pytest.warns(CeleriacWarning, match=f"option '{option}' has no effect"):
        app.task(**{option: value})(lambda: None)


# ── options of calls ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_sees_its_arguments_and_who_it_is(request_of: Any) -> None:
    args, kwargs, task_id, correlation = request_of("args kwargs id correlation_id", (1,), {"x": 2}, task_id="mine")
    assert (list(args), kwargs, task_id, correlation) == ([1], {"x": 2}, "mine", "mine")
    eager, directly, hostname, origin, retries = request_of("is_eager called_directly hostname origin retries")
    assert (eager, directly, retries) == (True, False, 0)
    assert origin.endswith(hostname)


def test_what_options_of_a_call_a_run_sees(request_of: Any) -> None:
    assert request_of("shadow", shadow="other") == "other"
    assert request_of("reply_to", reply_to="somewhere") == "somewhere"
    assert request_of("headers", headers={"tenant": 7})["tenant"] == 7
    assert request_of("tenant", headers={"tenant": 7}) == 7
    assert request_of("root_id parent_id", root_id="r", parent_id="p") == ["r", "p"]
    assert request_of("group group_index", group_id="g", group_index=1) == ["g", 1]
    assert request_of("ignore_result", ignore_result=True) is True
    assert request_of("time_limit soft_time_limit timelimit", time_limit=9, soft_time_limit=8) == [9, 8, [9, 8]]
    assert request_of("retries", retries=2) == 2
    assert request_of("replaced_task_nesting", replaced_task_nesting=2) == 2
    assert request_of("stamps stamped_headers", stamped_headers=["s"], s="v") == [{"s": ["v"]}, ["s"]]
    assert request_of("properties", app_id="mine")["app_id"] == "mine"
    assert request_of("delivery_info", priority=3)["priority"] == 3
    assert request_of("eta", countdown=5) is not None
    assert request_of("expires", expires=5) is not None


def test_a_run_sees_who_is_called_after_it(request_of: Any, eager: Celery) -> None:
    after = eager.task(name="names.after", typing=False)(lambda *_args: None)
    callbacks, errbacks = request_of("callbacks errbacks", link=after.s(), link_error=[after.si()])
    assert [one["task"] for one in (*callbacks, *errbacks)] == ["names.after", "names.after"]


def test_a_run_of_one_task_alone_has_the_defaults_of_the_rest(request_of: Any) -> None:
    assert request_of("chord chain taskset logfile loglevel utc") == [None] * 6


def test_callbacks_are_called_with_the_result_and_errbacks_after_a_failure(eager: Celery) -> None:
    seen: Seen = []

    @eager.task(typing=False)
    def after(*args: Any) -> None:
        seen.append(args)

    @eager.task
    def job(x: int) -> int:
        return 10 // x

    job.apply_async((5,), link=after.s("linked"))
    assert seen == [(2, "linked")]
    job.apply_async((0,), link=after.s(), link_error=after.si("failed"))
    assert seen[1:] == [("failed",)]


def test_how_a_publish_is_repeated_is_the_calls_to_say(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    policies: list[Any] = []
    monkeypatch.setattr(app.publisher, "publish", lambda outgoing, policy: policies.append(policy))
    job = app.task(lambda: None)
    job.apply_async(retry=False)
    job.apply_async(retry_policy={"max_retries": 7})
    job.apply_async()
    assert [policy and policy.max_retries for policy in policies] == [0, 7, None]


def test_what_replaces_parts_of_a_publish_in_celery_is_taken_without_effect(app: Celery) -> None:
    job = app.task(lambda: None)
    for name in (
        "producer",
        "connection",
        "declare",
        "timeout",
        "confirm_timeout",
        "router",
        "result_cls",
        "publisher",
    ):
        assert job.apply_async(**{name: None}).id
    assert job.apply_async(delivery_mode=1).id


def test_a_call_is_written_as_it_says(app: Celery) -> None:
    message = _peek(app, app.task(lambda: None).apply_async(serializer="pickle", compression="bz2"))
    assert message.content_type == "application/x-python-serialize"
    assert message.headers["compression"] == "application/x-bz2"


def test_what_workflows_add_to_a_call_is_sent(app: Celery) -> None:
    chord, chain = {"task": "names.body"}, [{"task": "names.next"}]
    message = _peek(app, app.task(lambda: None).apply_async(chord=chord, chain=chain))
    embed = decode_body(message, frozenset({"application/json"})).embed
    assert (embed["chord"], embed["chain"]) == (chord, chain)


def test_models_are_made_of_arguments_and_written_as_data(app: Celery) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Order(pydantic.BaseModel):  # type: ignore[name-defined,misc]
        number: int
        note: str | None = None

    def job(order: Any) -> Any:
        return order

    job.__annotations__ = {"order": Order, "return": Order}
    loose = app.task(
        name="names.loose", pydantic=True, pydantic_context={"a": 1}, pydantic_dump_kwargs={"exclude_none": True}
    )(job)
    assert loose.apply(({"number": "3"},)).get() == {"number": 3}
    strict = app.task(name="names.strict", pydantic=True, pydantic_strict=True)(job)
    assert strict.apply(({"number": "3"},)).failed()


# ── signatures ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_signature_of_a_name_is_sent_by_name(app: Celery) -> None:
    for make in (signature, subtask):
        result = make("names.unknown", (1,), {"x": 2}, app=app).apply_async()
        assert _peek(app, result).task == "names.unknown"


def test_what_may_be_a_signature_is_made_one(app: Celery) -> None:
    sig = app.signature("names.job", (1,))
    assert maybe_signature(None) is None
    assert maybe_signature(sig) is sig
    assert maybe_signature(dict(sig), app) == Signature.from_dict(dict(sig), app) == sig


def test_a_signature_holds_a_call(eager: Celery) -> None:
    @eager.task(name="names.minus")
    def minus(x: int, y: int = 0) -> int:
        return x - y

    sig = minus.s(2)
    assert (sig.task, sig.args, sig.kwargs, sig.options, sig.subtask_type) == ("names.minus", (2,), {}, {}, None)
    assert sig.type is minus
    assert sig.app is eager
    assert (sig.delay(10).get(), sig.apply((10,)).get(), sig.apply_async((10,)).get(), sig(10)) == (8, 8, 8, 8)
    assert minus.signature((5,), {"y": 1}, countdown=3).options == {"countdown": 3}
    assert minus.subtask((5,)) == minus.s(5)
    assert minus.si(5).immutable
    assert minus.si(5).delay(10).get() == 5
    assert sig.reprcall(10) == "names.minus(10, 2)"


def test_a_signature_is_copied_and_changed(app: Celery) -> None:
    sig = app.signature("names.job", (2,))
    assert sig.clone((1,), {"x": 3}, countdown=4) == sig.partial((1,), {"x": 3}, countdown=4)
    assert sig.clone((1,)).args == (1, 2)
    assert sig.replace(args=(9,)).args == (9,)
    assert sig.set(queue="slow", immutable=True).options["queue"] == "slow"
    assert sig.immutable
    sig.set_immutable(False)
    assert not sig.immutable


def test_a_signature_that_is_frozen_knows_its_ids(app: Celery) -> None:
    sig = app.signature("names.job")
    result = sig.freeze("mine", root_id="r", parent_id="p")
    assert (result.id, sig.id, sig.root_id, sig.parent_id) == ("mine", "mine", "r", "p")


def test_signatures_are_linked(app: Celery) -> None:
    first, second, third = (app.signature(f"names.{name}") for name in ("first", "second", "third"))
    first.link(second)
    second.link(third)
    assert [sig.task for sig in first.flatten_links()] == ["names.first", "names.second", "names.third"]
    assert first.on_error(third) is first
    first.link_error(second)
    assert [one["task"] for one in first.options["link_error"]] == ["names.third", "names.second"]


def test_a_class_of_signatures_is_registered_by_its_type(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Signature, "TYPES", dict(Signature.TYPES))

    @Signature.register_type("mine")
    class Mine(Signature):
        @classmethod
        def from_dict(cls, d: Any, app: Any = None) -> Signature:
            return cls(d, app=app)

    assert isinstance(signature({"task": "a", "subtask_type": "mine"}, app=app), Mine)


# ── results ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _store(app: Celery, task_id: str, state: str, value: Any) -> AsyncResult[Any]:
    job = app.task(name=f"names.{task_id}")(lambda: None)
    job.update_state(task_id, state, value)
    return app.AsyncResult(task_id)


def test_a_result_tells_what_is_stored(app: Celery) -> None:
    result = _store(app, "one", "SUCCESS", 5)
    assert result.exists()
    assert not app.AsyncResult("other").exists()
    assert (result.wait(timeout=5), result.state, result.status, result.result, result.info) == (
        5,
        *["SUCCESS"] * 2,
        5,
        5,
    )
    assert (result.id, result.task_id, result.children, result.traceback) == ("one", "one", [], None)
    assert (result.args, result.kwargs, result.worker, result.retries, result.queue) == (None,) * 5
    assert result.app is app
    assert (result.maybe_throw(), result.maybe_reraise()) == (5, 5)
    with pytest.raises(KeyError):
        result.throw(KeyError("mine"))


def test_a_result_can_be_written_down_with_its_parents(app: Celery) -> None:
    result = app.AsyncResult("child", parent=app.AsyncResult("parent"))
    assert result.as_list() == ["child", "parent"]
    assert result.as_tuple() == (("child", (("parent", None), None)), None)
    assert result.parent is not None


def test_the_tasks_that_a_task_called_are_found_from_its_result(app: Celery) -> None:
    result = _store(app, "one", "SUCCESS", 5)
    assert list(result.collect(timeout=5)) == [(result, 5)]
    assert list(result.iterdeps()) == [(None, result)]
    assert result.get_leaf() == 5
    with pytest.raises(IncompleteStream):
        list(app.AsyncResult("waiting").iterdeps())


def test_a_callback_is_called_when_the_result_is_there(app: Celery) -> None:
    called, seen = threading.Event(), list[Any]()
    result = _store(app, "one", "SUCCESS", 5)

    def note(done: AsyncResult[Any]) -> None:
        seen.append(done.get())
        called.set()

    assert result.then(note) is result
    assert called.wait(20)
    assert seen == [5]


def test_an_eager_result_is_the_value_as_it_is(app: Celery) -> None:
    value = object()
    result = app.task(lambda: value).apply()
    assert isinstance(result, EagerResult)
    assert result.get() is result.result is value
    assert result.ready()
    result.forget()
    result.revoke()
    assert result.state == "REVOKED"


def test_a_task_may_wait_for_another_where_that_is_allowed(app: Celery) -> None:
    result = _store(app, "one", "SUCCESS", 5)
    with allow_join_result():
        assert result.get(timeout=5) == 5
