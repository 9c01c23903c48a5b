import re
import sys
from types import ModuleType, SimpleNamespace

import pytest

from celeriac.exceptions import ConfigError, QueueNotFound
from celeriac.queues import Queue, Queues
from celeriac.routing import Router
from support.celery_oracle import ask_celery

# What both sides have: functions and classes that route.
ROUTERS = """
import re
def by_argument(name, args, kwargs, options, task=None, **kw):
    return {"queue": "feeds"} if args and args[0] == "feed" else None
def by_keyword(name, args, kwargs, options, task=None, **kw):
    to = kwargs.get("to")
    return dict(to) if isinstance(to, dict) else to  # Celery writes into what it is given
def by_option(name, args, kwargs, options, task=None, **kw):
    return {"queue": "feeds", "priority": 7} if options.get("priority") == 3 else None
def by_task(name, args, kwargs, options, task=None, **kw):
    return "feeds" if task is not None and getattr(task, "feeding", False) else None
def empty(name, args, kwargs, options, task=None, **kw):
    return {}
class ByClass:
    def route_for_task(self, task, args=None, kwargs=None):
        return {"queue": "feeds", "priority": 2} if task == "feeds.pull" else None
"""
TASK_QUEUES = "[Queue('celery', routing_key='celery'), Queue('feeds', Exchange('feeds'), routing_key='feeds.key')]"
TOPICS = (
    "task_queues=[Queue('default', routing_key='task.#'), Queue('feed_tasks', routing_key='feed.*'),"
    " Queue('other', Exchange('elsewhere', type='topic'), routing_key='feed.#')],"
    "task_default_exchange='tasks', task_default_exchange_type='topic', task_default_routing_key='task.default',"
    "task_default_queue='default'"
)
# Settings, the call's options, the task's own options (None: sent by name), all as Python.
CASES = [
    # where nothing is said
    ("", "", None),
    ("task_default_queue='main'", "", None),
    (f"task_queues={TASK_QUEUES}", "", None),
    (f"task_queues={TASK_QUEUES}, task_default_queue='unlisted'", "", None),
    (f"task_queues={TASK_QUEUES}, task_default_queue='unlisted', task_create_missing_queues=False", "", None),
    # the queue of the call
    ("", "queue='unlisted'", None),
    (f"task_queues={TASK_QUEUES}, task_create_missing_queues=False", "queue='unlisted'", None),
    (f"task_queues={TASK_QUEUES}, task_create_missing_queues=False", "queue='feeds'", None),
    ("", "queue=Queue('object', Exchange('any'), routing_key='key')", None),
    ("task_queues={'feeds': {'exchange': 'x', 'routing_key': 'y'}}", "queue='feeds'", None),
    # names, globs, expressions and pairs
    ("task_routes={'feeds.pull': 'feeds'}", "", None),
    ("task_routes={'feeds.pull': {'queue': 'feeds', 'priority': 4}}", "", None),
    ("task_routes={'feeds.*': 'feeds'}", "", None),
    ("task_routes={'*.pull': 'feeds'}", "", None),
    ("task_routes={'feeds.?ull': 'feeds'}", "", None),
    ("task_routes={'feeds.[p]*': 'feeds'}", "", None),
    ("task_routes={'eeds.*': 'feeds'}", "", None),
    ("task_routes={'feeds.*': 'pattern', 'feeds.pull': 'exact'}", "", None),
    ("task_routes={'*': 'first', 'feeds.*': 'second'}", "", None),
    ("task_routes={re.compile(r'(web|feeds)[.].*'): 'media'}", "", None),
    ("task_routes={re.compile(r'feeds'): 'prefix'}", "", None),
    ("task_routes={re.compile(r'pull'): 'within'}", "", None),
    ("task_routes=([('feeds.*', {'queue': 'feeds'}), ('*', 'rest')],)", "", None),
    ("task_routes=([('web.*', {'queue': 'web'}), (re.compile('feed'), 'rest')],)", "", None),
    ("task_routes={'feeds.*': ''}", "", None),
    ("task_routes={'feeds.*': {}}", "", None),
    ("task_routes={'feeds.*': {'queue': None, 'priority': 1}}", "", None),
    ("task_routes=None", "", None),
    ("task_routes={'feeds.*': 'unlisted'}, task_create_missing_queues=False", "", None),
    # functions, classes, and several
    ("task_routes=by_argument", "args=['feed']", None),
    ("task_routes=by_argument", "args=['other']", None),
    ("task_routes=by_keyword", "kwargs={'to': 'feeds'}", None),
    ("task_routes=[by_keyword]", "kwargs={'to': {'queue': 'feeds', 'priority': 9}}", None),
    ("task_routes='unit_routers.by_argument'", "args=['feed']", None),
    ("task_routes='unit_routers:by_argument'", "args=['feed']", None),
    ("task_routes='unit_routers.ByClass'", "", None),
    ("task_routes=[ByClass()]", "", None),
    ("task_routes=[by_keyword, {'feeds.*': 'table'}]", "", None),
    ("task_routes=[by_keyword, {'feeds.*': 'table'}]", "kwargs={'to': 'function'}", None),
    ("task_routes=({'web.*': 'web'}, {'feeds.*': 'second'}, {'feeds.*': 'third'})", "", None),
    ("task_routes=[empty, {'feeds.*': 'table'}]", "", None),
    ("task_routes=[by_option, {'feeds.*': 'table'}]", "priority=3", None),
    ("task_routes=by_option", "", "priority=3"),
    ("task_routes=by_task", "", "feeding=True"),
    ("task_routes=by_task", "", ""),
    # who comes first
    ("task_routes={'feeds.*': 'route'}", "queue='call'", None),
    ("task_routes={'feeds.*': 'route'}", "queue='call'", "queue='task'"),
    ("task_routes={'feeds.*': 'route'}", "", "queue='task'"),
    ("task_routes={'feeds.*': 'route'}", "queue=None", None),
    ("", "", "queue='task'"),
    ("", "queue='call'", "queue='task'"),
    ("task_routes={'feeds.*': {'queue': 'route', 'priority': 4}}", "queue='call'", None),
    ("task_routes={'feeds.*': {'queue': 'route', 'priority': 4}}", "priority=1", None),
    ("task_routes={'feeds.*': {'queue': 'route', 'priority': 4}}", "priority=None", None),
    ("task_routes={'feeds.*': {'queue': 'route', 'priority': 4}}", "", "priority=6"),
    ("task_routes={'feeds.*': {'queue': 'route', 'priority': 4}}", "", "queue='task'"),
    # exchanges and keys
    (f"task_queues={TASK_QUEUES}", "exchange='feeds', routing_key='feeds.key'", None),
    (f"task_queues={TASK_QUEUES}", "exchange='feeds', routing_key='feeds.key'", "queue='celery'"),
    (f"task_queues={TASK_QUEUES}", "", "exchange='feeds', routing_key='feeds.key'"),
    (f"task_queues={TASK_QUEUES}", "exchange=Exchange('feeds'), routing_key='feeds.key'", None),
    (f"task_queues={TASK_QUEUES}", "exchange='feeds'", None),
    (f"task_queues={TASK_QUEUES}", "routing_key='feeds.key'", None),
    (f"task_queues={TASK_QUEUES}", "exchange='', routing_key='feeds'", None),
    (f"task_queues={TASK_QUEUES}", "exchange='celery', routing_key='celery'", None),
    (f"task_queues={TASK_QUEUES}", "queue='celery', exchange='feeds', routing_key='feeds.key'", None),
    (
        f"task_queues={TASK_QUEUES}, task_routes={{'feeds.*': {{'exchange': 'feeds', 'routing_key': 'feeds.key'}}}}",
        "",
        None,
    ),
    (
        f"task_queues={TASK_QUEUES}, task_routes={{'feeds.*': {{'exchange': 'feeds', 'routing_key': 'feeds.key'}}}}",
        "queue='celery'",
        None,
    ),
    (f"task_queues={TASK_QUEUES}, task_routes={{'feeds.*': {{'routing_key': 'feeds.key'}}}}", "", None),
    ("task_queues={'a': {'exchange': 'x', 'binding_key': 'y'}, 'celery': {}}", "exchange='x', routing_key='y'", None),
    ("task_queues=[Queue('feeds', alias='pull'), Queue('celery')]", "queue='pull'", None),
    ("", "exchange='celery', routing_key='celery'", None),
    ("task_default_exchange='tasks', task_default_routing_key='key'", "exchange='tasks', routing_key='key'", None),
    # topics
    (TOPICS, "", None),
    (TOPICS, "queue='feed_tasks', routing_key='feed.import'", None),
    (TOPICS, "routing_key='feed.import'", None),
    (TOPICS, "routing_key='task.a.b.c'", None),
    (TOPICS, "routing_key='feed.import', exchange='elsewhere'", None),
    (TOPICS, "routing_key='feed.import.all', exchange='elsewhere'", None),
    (TOPICS, "queue='feed_tasks'", None),
    (TOPICS, "queue='unlisted'", None),
    (TOPICS, "exchange='', routing_key='feed_tasks'", None),
    (TOPICS, "queue='feed_tasks', exchange_type='direct'", None),
    (f"task_routes={{'feeds.*': {{'queue': 'feed_tasks', 'routing_key': 'feed.import'}}}}, {TOPICS}", "", None),
    (
        "task_queues=[Queue('many', [binding(Exchange('x'), routing_key='a'), binding(Exchange('x'), routing_key='b')])]",
        "exchange='x', routing_key='b'",
        None,
    ),
]
# Celery loses these: no queue is bound there. Here they are errors.
LOST = [
    (f"task_queues={TASK_QUEUES}", "exchange='feeds', routing_key='nobody'", None),
    (f"task_queues={TASK_QUEUES}", "queue='feeds', exchange='nowhere', routing_key='nobody'", None),
    (TOPICS, "routing_key='nobody'", None),
    (TOPICS, "queue='feed_tasks', routing_key='feed.too.long'", None),
]
ASK = """
import sys, types, warnings
from celery import Celery
from kombu import Exchange, Queue, binding
from kombu.transport import memory
warnings.simplefilter("ignore")
sys.modules["unit_routers"] = routers = types.ModuleType("unit_routers")
exec(given["routers"], vars(routers))
names = {**vars(routers), "Exchange": Exchange, "Queue": Queue, "binding": binding}

def landed(settings, options, own):
    memory.Transport.global_state.clear()
    memory.Channel.queues.clear()
    app = Celery("unit", broker="memory://", set_as_current=False)
    app.conf.update(**eval(f"dict({settings})", names))
    options = eval(f"dict({options})", names)
    with app.connection_for_write() as connection:
        for queue in list(app.amqp.queues.values()):
            queue(connection.default_channel).declare()
    try:
        if own is None:
            app.send_task("feeds.pull", **options)
        else:
            def pull(): pass
            app.task(name="feeds.pull", **eval(f"dict({own})", names))(pull).apply_async(**options)
    except Exception as error:
        return type(error).__name__
    found = []
    with app.connection_for_read() as connection:
        for name, queue in memory.Channel.queues.items():
            while queue.qsize():
                message = queue.get()
                found.append([name, message["properties"]["priority"]])
    return found

answer = [landed(*case) for case in given["cases"]]
"""


class KombuLike(SimpleNamespace):
    """The attributes of kombu's queues and exchanges that matter, and as many others as None."""


def kombu_exchange(name="", type="direct"):
    return KombuLike(name=name, type=type)


def kombu_queue(name, exchange=None, routing_key="", alias=None, **rest):
    bindings = exchange if isinstance(exchange, list) else []
    exchange = kombu_exchange() if exchange is None or bindings else exchange
    return KombuLike(name=name, exchange=exchange, routing_key=routing_key, alias=alias, bindings=bindings, **rest)


def kombu_binding(exchange, routing_key):
    return KombuLike(exchange=exchange, routing_key=routing_key)


@pytest.fixture
def routers(monkeypatch):
    module = ModuleType("unit_routers")
    exec(ROUTERS, vars(module))
    monkeypatch.setitem(sys.modules, "unit_routers", module)
    return module


def landed(routers, settings, options, own):
    names = {**vars(routers), "Exchange": kombu_exchange, "Queue": kombu_queue, "binding": kombu_binding}
    settings = eval(f"dict({settings})", names)
    options = eval(f"dict({options})", names)
    args, kwargs = options.pop("args", ()), options.pop("kwargs", {})
    own = None if own is None else SimpleNamespace(**eval(f"dict({own})", names))
    router = Router(
        Queues.of(
            settings.get("task_queues"),
            create_missing=settings.get("task_create_missing_queues", True),
            **{
                name.removeprefix("task_"): value
                for name, value in settings.items()
                if name.startswith("task_default_")
            },
        ),
        settings.get("task_routes"),
    )
    try:
        routed = router.route(options, "feeds.pull", args, kwargs, task=own)
    except Exception as error:
        return type(error).__name__
    assert routed.keys() <= {"queue", "priority"}
    return [[routed["queue"], routed.get("priority") or 0]]


def test_calls_go_where_celery_sends_them(routers):
    theirs = ask_celery(ASK, {"routers": ROUTERS, "cases": CASES})
    ours = [landed(routers, *case) for case in CASES]
    different = [(case, a, b) for case, a, b in zip(CASES, ours, theirs, strict=True) if a != b]
    assert different == [], "\n".join(map(str, different))


def test_what_celery_would_lose_is_an_error(routers):
    assert ask_celery(ASK, {"routers": ROUTERS, "cases": LOST}) == [[]] * len(LOST)
    assert [landed(routers, *case) for case in LOST] == ["QueueNotFound"] * len(LOST)


@pytest.fixture
def queues():
    return Queues.of(["celery", "feeds", Queue("images", exchange="media", routing_key="image")])


@pytest.fixture
def strict():
    return Queues.of(["celery", "feeds", "images"], create_missing=False)


def test_without_routes_the_queue_is_the_only_thing_added(queues):
    assert Router(queues).route({"priority": 3, "shadow": "x"}, "feeds.pull") == {
        "priority": 3,
        "shadow": "x",
        "queue": "celery",
    }


def test_exchange_and_routing_key_become_a_queue(queues):
    options = {"exchange": "media", "routing_key": "image", "exchange_type": "direct"}
    assert Router(queues).route(options, "feeds.pull") == {"queue": "images"}


def test_an_option_of_none_is_not_given(queues):
    task = SimpleNamespace(queue="feeds", priority=5)
    options = {"queue": None, "priority": None, "expires": None}
    assert Router(queues).route(options, "feeds.pull", task=task) == {"queue": "feeds", "priority": 5}


def test_what_a_route_says_beside_the_queue_comes_along(queues):
    route = {"queue": "feeds", "priority": 2, "serializer": "yaml", "expires": 60, "time_limit": None}
    options = Router(queues, {"feeds.*": route}).route({"serializer": "json"}, "feeds.pull")
    assert options == {"queue": "feeds", "priority": 2, "serializer": "json", "expires": 60}


def test_neither_options_nor_routes_are_changed(queues):
    options, route = {"priority": 1}, {"queue": "feeds", "priority": 2}
    Router(queues, [lambda *_arguments, **_more: route]).route(options, "feeds.pull")
    assert (options, route) == ({"priority": 1}, {"queue": "feeds", "priority": 2})


def test_pairs_do_without_a_list_of_their_own(queues):
    router = Router(queues, [("feeds.*", {"queue": "feeds"}), (re.compile("web"), "web")])
    assert [router.route({}, name)["queue"] for name in ("feeds.pull", "web.get", "x")] == ["feeds", "web", "celery"]


def test_a_route_may_be_a_queue_and_a_router_a_class(queues):
    class ByClass:
        def route_for_task(self, task, args=None, kwargs=None):
            return Queue("made") if task == "a" else None

    router = Router(queues, [ByClass, {"b": kombu_queue("like.kombus")}])
    assert [router.route({}, name)["queue"] for name in "ab"] == ["made", "like.kombus"]


def test_a_function_sees_the_options_of_the_call_and_of_the_task(queues):
    seen = []
    task = SimpleNamespace(priority=5, queue="feeds")
    router = Router(queues, lambda *arguments, **more: seen.append((arguments, more)))
    router.route({"queue": "images"}, "feeds.pull", [1], {"x": 2}, task=task)
    assert seen == [(("feeds.pull", [1], {"x": 2}, {"queue": "images", "priority": 5}), {"task": task})]


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("fedes", r"there are celery, feeds, images; did you mean 'feeds'\?"),
        ("zzz", "there are celery, feeds, images$"),
    ],
)
def test_an_unknown_queue_is_an_error_that_names_the_known(strict, asked, hint):
    with pytest.raises(QueueNotFound, match=f"no queue '{asked}' in the setting task_queues; {hint}"):
        Router(strict).route({"queue": asked}, "feeds.pull")


def test_an_exchange_that_leads_nowhere_is_an_error_that_names_both(queues):
    with pytest.raises(QueueNotFound, match="bound to exchange 'media' with the routing key 'film'; name the queue"):
        Router(queues).route({"exchange": "media", "routing_key": "film"}, "feeds.pull")


def test_a_queue_that_would_be_created_is_reached_by_its_exchange(queues, strict):
    options = {"exchange": "unlisted", "routing_key": "unlisted"}
    assert Router(queues).route(options, "feeds.pull")["queue"] == "unlisted"
    with pytest.raises(QueueNotFound):
        Router(strict).route(options, "feeds.pull")


def test_a_key_that_leads_to_several_queues_is_an_error_that_names_them():
    queues = Queues.of([Queue("a", "x", "feed.#", "topic"), Queue("b", "x", "*.import", "topic")])
    with pytest.raises(ConfigError, match=r"to the queues a, b for the routing key 'feed\.import'"):
        Router(queues).route({"exchange": "x", "routing_key": "feed.import"}, "feeds.pull")


@pytest.mark.parametrize("exchange_type", ["fanout", "headers", "tpoic"])
def test_an_exchange_type_that_there_is_not_is_an_error(queues, exchange_type):
    with pytest.raises(ConfigError, match=f"of type '{exchange_type}'; celeriac has direct and topic"):
        Router(queues).route({"exchange": "x", "routing_key": "y", "exchange_type": exchange_type}, "feeds.pull")


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        (5, "setting task_routes: 5 is no dictionary"),
        ({"feeds.*": 5}, r"the route of feeds.\* is the name of a queue or a dictionary of options, not 5"),
        ({5: "feeds"}, r"a route is a pair of a task's name and a route, not \(5, 'feeds'\)"),
        ([[("a", "b", "c")]], r"is a pair of .* not \('a', 'b', 'c'\)"),
        (
            "unit_missing.router",
            "setting task_routes names 'unit_missing.router', but there is no module 'unit_missing'",
        ),
    ],
)
def test_a_route_that_is_none_is_an_error_when_the_router_is_made(queues, routes, message):
    with pytest.raises(ConfigError, match=message):
        Router(queues, routes)


def test_a_function_that_answers_with_something_else_is_an_error(queues):
    with pytest.raises(ConfigError, match=r"the route of feeds\.pull is the name of a queue .* not 5"):
        Router(queues, lambda *_arguments, **_more: 5).route({}, "feeds.pull")
