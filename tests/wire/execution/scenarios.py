"""What is called, by the tasks `t` of execution_tasks.py: `drive.py` calls it, the test has the names."""

#: Name -> how many runs end it (with any state but RETRY), and the call.
SCENARIOS = {
    "success": (1, lambda t, **id: t.work.apply_async((5,), **id)),
    "failure": (1, lambda t, **id: t.fail.apply_async(**id)),
    "before_start raises": (1, lambda t, **id: t.work.apply_async(kwargs={"raise_in": "before_start"}, **id)),
    "on_success raises": (1, lambda t, **id: t.work.apply_async(kwargs={"raise_in": "on_success"}, **id)),
    "on_failure raises": (1, lambda t, **id: t.fail.apply_async(kwargs={"raise_in": "on_failure"}, **id)),
    "on_retry raises": (1, lambda t, **id: t.flaky.apply_async(kwargs={"raise_in": "on_retry"}, **id)),
    "after_return raises": (1, lambda t, **id: t.work.apply_async(kwargs={"raise_in": "after_return"}, **id)),
    "retried": (1, lambda t, **id: t.flaky.apply_async((1,), **id)),
    "retried without exc": (1, lambda t, **id: t.flaky.apply_async((1,), {"give_exc": False}, **id)),
    "retried too often": (1, lambda t, **id: t.flaky.apply_async((5,), **id)),
    "retried with a limit": (1, lambda t, **id: t.flaky.apply_async((5,), {"options": {"max_retries": 1}}, **id)),
    "retried for ever": (1, lambda t, **id: t.patient.apply_async((5,), **id)),
    "gives up": (1, lambda t, **id: t.gives_up.apply_async((1,), {"b": 3}, **id)),
    "retry not thrown": (2, lambda t, **id: t.not_thrown.apply_async(**id)),
    "retried with other arguments": (1, lambda t, **id: t.changed.apply_async((1,), {"x": 2}, **id)),
    "retried with some arguments": (1, lambda t, **id: t.changed_partly.apply_async((1, 2), {"c": 4}, **id)),
    "retried elsewhere": (1, lambda t, **id: t.sent_on.apply_async(({"queue": "other", "priority": 3},), **id)),
    "retried with limits": (
        1,
        lambda t, **id: t.sent_on.apply_async(({"time_limit": 50, "soft_time_limit": 40},), **id),
    ),
    "retried with headers": (
        1,
        lambda t, **id: t.sent_on.apply_async(({"headers": {"tenant": "b"}},), headers={"tenant": "a"}, **id),
    ),
    "retried as sent": (
        1,
        lambda t, **id: t.sent_on.apply_async(
            ({},), headers={"tenant": "a"}, time_limit=60, soft_time_limit=50, priority=5, shadow="other", **id
        ),
    ),
    "retried with a link": (
        2,
        lambda t, **id: t.sent_on.apply_async(({"link": dict(t.got.s())},), **id),
    ),
    "autoretry": (1, lambda t, **id: t.auto.apply_async(kwargs={"failures": 1}, **id)),
    "autoretry too often": (1, lambda t, **id: t.auto.apply_async(**id)),
    "autoretry excepted": (1, lambda t, **id: t.auto.apply_async(("halted",), **id)),
    "autoretry another": (1, lambda t, **id: t.auto.apply_async(("other",), **id)),
    "autoretry of all": (1, lambda t, **id: t.auto_all.apply_async(("plain",), **id)),
    "autoretry and Ignore": (1, lambda t, **id: t.auto_all.apply_async(("ignore",), **id)),
    "ignored": (1, lambda t, **id: t.ignored.apply_async(**id)),
    "rejected": (1, lambda t, **id: t.rejected.apply_async(**id)),
    "rejected and back": (2, lambda t, **id: t.rejected.apply_async((True,), **id)),
    "expected": (1, lambda t, **id: t.expected.apply_async(**id)),
    "forgotten": (1, lambda t, **id: t.forgotten.apply_async(**id)),
    "forgotten by the call": (1, lambda t, **id: t.work.apply_async(ignore_result=True, **id)),
    "not forgotten by the call": (1, lambda t, **id: t.forgotten.apply_async(ignore_result=False, **id)),
    "forgotten failure": (1, lambda t, **id: t.forgotten_failure.apply_async(**id)),
    "remembered failure": (1, lambda t, **id: t.remembered_failure.apply_async(**id)),
    "unencodable": (1, lambda t, **id: t.unencodable.apply_async(**id)),
    "long text": (1, lambda t, **id: t.long_text.apply_async(**id)),
    "tracked": (1, lambda t, **id: t.tracked.apply_async(**id)),
    "own state": (1, lambda t, **id: t.own_state.apply_async(**id)),
    "request": (
        0,
        lambda t, **id: t.look.apply_async(
            (1,), {"b": 2}, headers={"tenant": "a"}, time_limit=60, soft_time_limit=50, priority=5, reply_to="me", **id
        ),
    ),
    "plain request": (0, lambda t, **id: t.look.apply_async(**id)),
    "linked request": (
        0,
        lambda t, **id: t.look.apply_async(link=[t.got.s(1), t.got.si()], link_error=t.got_id.s(), **id),
    ),
    "children": (2, lambda t, **id: t.calls_others.apply_async(**id)),
    "link": (2, lambda t, **id: t.work.apply_async((5,), link=t.got.s(1, b=2), **id)),
    "links": (3, lambda t, **id: t.work.apply_async((5,), link=[t.got.s(1), t.got.s(2)], **id)),
    "immutable link": (2, lambda t, **id: t.work.apply_async((5,), link=t.got.si(1), **id)),
    "link of a link": (3, lambda t, **id: t.work.apply_async((5,), link=linked(t.got.s(1), t.got.s(2)), **id)),
    "link with options": (
        2,
        lambda t, **id: t.work.apply_async((5,), link=t.got.s().set(queue="other", countdown=0.01), **id),
    ),
    "link after retry": (2, lambda t, **id: t.flaky.apply_async((1,), link=t.got.s(), **id)),
    "link and failure": (1, lambda t, **id: t.fail.apply_async(link=t.got.s(), **id)),
    "link and ignored": (1, lambda t, **id: t.ignored.apply_async(link=t.got.s(), **id)),
    "link and forgotten": (2, lambda t, **id: t.forgotten.apply_async(link=t.got.s(), **id)),
    "link_error sent": (2, lambda t, **id: t.fail.apply_async(link_error=t.got_id.s(), **id)),
    "link_error called": (1, lambda t, **id: t.fail.apply_async(link_error=t.errback.s(), **id)),
    "link_errors of both kinds": (
        2,
        lambda t, **id: t.fail.apply_async(link_error=[t.errback.s(), t.got_id.s()], **id),
    ),
    "immutable link_error": (2, lambda t, **id: t.fail.apply_async(link_error=t.got.si("x"), **id)),
    "link_error raises": (1, lambda t, **id: t.fail.apply_async(link_error=t.errback_raises.s(), **id)),
    "link_error after success": (1, lambda t, **id: t.work.apply_async(link_error=t.got_id.s(), **id)),
    "link_error after retries": (2, lambda t, **id: t.flaky.apply_async((9,), link_error=t.got_id.s(), **id)),
    "link_error of what is not stored": (2, lambda t, **id: t.unencodable.apply_async(link_error=t.got_id.s(), **id)),
    "replaced": (2, lambda t, **id: t.replaced.apply_async((4,), **id)),
    "replaced with a link": (3, lambda t, **id: t.replaced.apply_async((4,), link=t.got.s(1), **id)),
    "replaced by a failure": (3, lambda t, **id: t.replaced_by_failure.apply_async(link_error=t.got_id.s(), **id)),
    "expired": (0, lambda t, **id: t.work.apply_async(expires=-1, **id)),
}

EAGER = {
    "success": lambda t: t.work.apply((5,)),
    "failure": lambda t: t.fail.apply(),
    "failure thrown": lambda t: t.fail.apply(throw=True),
    "before_start raises": lambda t: t.work.apply(kwargs={"raise_in": "before_start"}),
    "retried": lambda t: t.flaky.apply((1,)),
    "retried too often": lambda t: t.flaky.apply((5,)),
    "retried thrown": lambda t: t.flaky.apply((1,), throw=True),
    "autoretry": lambda t: t.auto.apply(kwargs={"failures": 1}),
    "autoretry too often": lambda t: t.auto.apply(),
    "autoretry excepted": lambda t: t.auto.apply(("halted",)),
    "gives up": lambda t: t.gives_up.apply((1,), {"b": 3}),
    "retried with other arguments": lambda t: t.changed.apply((1,), {"x": 2}),
    "retried with some arguments": lambda t: t.changed_partly.apply((1, 2), {"c": 4}),
    "ignored": lambda t: t.ignored.apply(),
    "rejected": lambda t: t.rejected.apply(),
    "expected": lambda t: t.expected.apply(),
    "unencodable": lambda t: t.unencodable.apply(),
    "request": lambda t: t.look.apply((1,), {"b": 2}, headers={"tenant": "a"}, priority=5),
    "request of a given id": lambda t: t.look.apply(task_id="given", retries=2),
    "outer": lambda t: t.outer.apply(),
}

ALWAYS_EAGER = {
    "link": lambda t: t.work.apply_async((5,), link=t.got.s(1)),
    "links": lambda t: t.work.apply_async((5,), link=[t.got.s(1), t.got.s(2)]),
    "link after retry": lambda t: t.flaky.apply_async((1,), link=t.got.s()),
    "link_error sent": lambda t: t.fail.apply_async(link_error=t.got_id.s()),
    "link_error called": lambda t: t.fail.apply_async(link_error=t.errback.s()),
    "success": lambda t: t.work.delay({"when": (1, 2)}),
    "failure": lambda t: t.fail.delay(),
    "retried": lambda t: t.flaky.delay(1),
    "replaced": lambda t: t.replaced.delay(4),
    "replaced with a link": lambda t: t.replaced.apply_async((4,), link=t.got.s(1)),
    "request": lambda t: t.look.apply_async((1,), headers={"tenant": "a"}, priority=5),
    "outer": lambda t: t.outer.delay(),
    "children": lambda t: t.calls_others.delay(),
}


def linked(first, second):
    first.link(second)
    return first
