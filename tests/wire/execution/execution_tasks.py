"""Tasks whose handlers, signals and requests are noted: one module that Celery and celeriac both run.

EXECUTION_SIDE says by whom it is imported; each event is a line in the file EXECUTION_AUDIT, with the id of the first task
of all that led to it.
"""

import json
import os

SIDE = os.environ["EXECUTION_SIDE"]
if SIDE == "celery":
    from celery import Celery, Task, current_task, signals
    from celery.exceptions import Ignore, Reject
else:
    from celeriac import Celery, Task, current_task, signals
    from celeriac.exceptions import Ignore, Reject

app = Celery("execution_tasks", broker=os.environ["EXECUTION_STORE"], backend=os.environ["EXECUTION_STORE"])
app.conf.update(
    result_extended=True,
    task_acks_late=True,
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
)


class OutOfStock(Exception):
    """An error of the project's own."""


class Halted(OutOfStock):
    """One for which there is no point in trying again."""


def note(root, event, *facts):
    line = json.dumps([root, event, *map(shown, facts)])
    file = os.open(os.environ["EXECUTION_AUDIT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode() + b"\n")
    os.close(file)


def shown(value):
    """A fact as plain data that can be compared."""
    if hasattr(value, "traceback") and hasattr(value, "exception"):  # einfo
        return ["einfo", value.type.__name__, str(value).rstrip().splitlines()[-1]]
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    if type(value).__name__ == "traceback":
        return "traceback"
    if hasattr(value, "delivery_info"):
        return ["request", value.id]
    if hasattr(value, "apply_async"):
        return ["task", value.name]
    if isinstance(value, dict):
        return {name: shown(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(one) for one in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


class Noted(Task):
    """Notes each handler, and raises in the one that the call names."""

    def _handler(self, name, *facts):
        note(self.request.root_id, f"{self.name} {name}", *facts)
        if self.request.kwargs.get("raise_in") == name:
            raise ValueError(f"raised in {name}")

    def before_start(self, *facts):
        self._handler("before_start", *facts)

    def on_success(self, *facts):
        self._handler("on_success", *facts)

    def on_failure(self, *facts):
        self._handler("on_failure", *facts)

    def on_retry(self, *facts):
        self._handler("on_retry", *facts)

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        self._handler("after_return", status, retval, task_id, args, kwargs)  # Celery passes no einfo


def connect(signal, name):
    def receive(signal, sender, **facts):
        note(sender.request.root_id, f"{sender.name} signal {name}", {**facts, "runtime": "runtime" in facts})

    signal.connect(receive, weak=False)


for each in ("task_prerun", "task_postrun", "task_success", "task_failure", "task_retry"):
    connect(getattr(signals, each), each)


@signals.task_revoked.connect
def on_revoked(sender, request, terminated, signum, expired, **_):
    note(request.id, "task_revoked", sender, terminated, signum, expired)


@signals.task_internal_error.connect
def on_internal_error(sender, task_id, args, kwargs, request, exception, traceback, einfo, **_):
    note(task_id, "task_internal_error", sender, task_id, args, kwargs, exception, traceback, einfo)


@signals.task_received.connect
def on_received(request, **_):
    note(request.root_id, "task_received", request.id)


@app.task(bind=True, base=Noted)
def work(self, value=None, raise_in=None):
    note(self.request.root_id, "work")
    return value


@app.task(bind=True, base=Noted)
def fail(self, raise_in=None):
    raise OutOfStock("SKU-1", 3)


@app.task(bind=True, base=Noted, max_retries=2)
def flaky(self, failures=1, raise_in=None, options=None, give_exc=True):
    if self.request.retries < failures:
        try:
            raise OutOfStock("SKU-1", self.request.retries)
        except OutOfStock as error:
            raise self.retry(exc=error if give_exc else None, countdown=0, **(options or {})) from None
    return self.request.retries


@app.task(bind=True, base=Noted, max_retries=None)
def patient(self, failures):
    if self.request.retries < failures:
        raise self.retry(exc=OutOfStock("again"), countdown=0)
    return self.request.retries


@app.task(bind=True, base=Noted, max_retries=1)
def gives_up(self, a, b=2):
    try:
        raise self.retry(countdown=0)
    except self.MaxRetriesExceededError as error:
        note(self.request.root_id, "gave up", type(error).__name__, error.task_args, error.task_kwargs)
        raise


@app.task(bind=True, base=Noted)
def not_thrown(self):
    if self.request.retries:
        return "second"
    self.retry(throw=False, countdown=0)
    return "first"


@app.task(bind=True, base=Noted, max_retries=5)
def changed(self, *args, **kwargs):
    if not self.request.retries:
        raise self.retry(args=[7, 8], kwargs={"c": 9}, countdown=0)
    return [list(args), kwargs]


@app.task(bind=True, base=Noted)
def changed_partly(self, a, b=2, c=3):
    if not self.request.retries:
        raise self.retry(kwargs={"b": 20}, countdown=0)
    if self.request.retries == 1:
        raise self.retry(args=[10], countdown=0)
    return [a, b, c]


@app.task(bind=True, base=Noted)
def sent_on(self, options):
    if not self.request.retries:
        raise self.retry(countdown=0, **options)
    return seen(self.request)


@app.task(
    base=Noted,
    autoretry_for=(OutOfStock,),
    dont_autoretry_for=(Halted,),
    retry_kwargs={"max_retries": 2, "countdown": 0},
)
def auto(kind="stock", failures=9):
    if current_task.request.retries >= failures:
        return current_task.request.retries
    raise {"stock": OutOfStock, "halted": Halted, "other": LookupError}[kind](kind)


@app.task(base=Noted, autoretry_for=(Exception,), default_retry_delay=0, max_retries=1)
def auto_all(how):
    raise {"ignore": Ignore, "reject": Reject, "plain": ValueError}[how](how)


@app.task(base=Noted)
def ignored():
    raise Ignore("nothing")


@app.task(bind=True, base=Noted)
def rejected(self, requeue=False):
    if self.request.delivery_info.get("redelivered"):
        return "again"
    raise Reject("not now", requeue=requeue)


@app.task(base=Noted, throws=(OutOfStock,))
def expected():
    raise OutOfStock("as always")


@app.task(base=Noted, ignore_result=True)
def forgotten():
    return 1


@app.task(base=Noted, ignore_result=True)
def forgotten_failure():
    raise OutOfStock("nobody")


@app.task(base=Noted, ignore_result=True, store_errors_even_if_ignored=True)
def remembered_failure():
    raise OutOfStock("nobody")


@app.task(base=Noted)
def unencodable():
    return object


@app.task(base=Noted)
def long_text():
    raise OutOfStock("x" * 100_000)


@app.task(base=Noted, track_started=True)
def tracked():
    return 1


@app.task(bind=True, base=Noted)
def own_state(self):
    self.update_state(state="PROGRESS", meta={"done": 1})
    raise Ignore


FACTS = (
    "id", "task", "args", "kwargs", "retries", "root_id", "parent_id", "group", "group_index", "chord", "chain", "callbacks",
    "errbacks", "eta", "expires", "timelimit", "time_limit", "soft_time_limit", "reply_to", "correlation_id", "shadow",
    "ignore_result", "is_eager", "called_directly", "replaced_task_nesting", "stamped_headers", "stamps", "headers", "utc",
    "taskset", "logfile", "loglevel",
)  # fmt: skip


def seen(request):
    facts = {name: shown(getattr(request, name)) for name in FACTS}
    info = request.delivery_info or {}
    facts["delivery_info"] = {name: info.get(name) for name in ("routing_key", "priority", "redelivered", "exchange")}
    facts["hostname"] = bool(request.hostname)
    facts["origin"] = str(request.origin)[:3]
    facts["tenant"] = getattr(request, "tenant", "no attribute")
    facts["children"] = len(request.children)
    facts["current_task"] = current_task.name
    facts["same request"] = current_task.request.id == request.id
    return facts


@app.task(bind=True)
def look(self, *args, **kwargs):
    return seen(self.request)


@app.task(bind=True, base=Noted)
def calls_others(self):
    note(self.request.root_id, "child", work.delay("child").id == self.request.children[0].id)
    return len(self.request.children)


@app.task(bind=True)
def got(self, *args, **kwargs):
    """A callback: what it is called with, and who has called it."""
    request = self.request
    queue = None if request.is_eager else request.delivery_info["routing_key"]
    note(request.root_id, "got", args, kwargs, request.parent_id, request.root_id, queue)
    return list(args)


@app.task(bind=True)
def got_id(self, task_id):
    """An errback that is sent, as it takes one argument."""
    request = self.request
    note(request.root_id, "got_id", task_id, request.parent_id)
    return task_id


@app.task
def errback(request, exc, traceback):
    """An errback that is called where the task has failed."""
    note(
        request.root_id, "errback", request.id, exc, traceback.rstrip().splitlines()[-1], bool(current_task.request.id)
    )


@app.task
def errback_with_more(first, request, exc, traceback):
    note(first, "errback with more", first)


@app.task
def errback_raises(request, exc, traceback):
    note(request.root_id, "errback raises")
    raise LookupError("in the errback")


@app.task(bind=True, base=Noted)
def replaced(self, value):
    return self.replace(look.s(value))


@app.task(bind=True, base=Noted)
def replaced_by_failure(self):
    return self.replace(fail.s())


@app.task(base=Noted)
def exits():
    raise SystemExit(3)


@app.task(bind=True, base=Noted)
def outer(self):
    inner = look.apply_async() if app.conf.task_always_eager else look.apply()
    return inner.get(disable_sync_subtasks=False)
