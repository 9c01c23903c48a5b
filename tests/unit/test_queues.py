import pytest

from celeriac.exceptions import ConfigError, QueueNotFound
from celeriac.queues import Binding, Queue, Queues
from support.celery_oracle import ask_celery


class KombusExchange:
    def __init__(self, name, type="direct"):
        self.name, self.type = name, type


class KombusQueue:
    def __init__(self, name, exchange, routing_key, **rest):
        self.name, self.exchange, self.routing_key = name, exchange, routing_key
        vars(self).update(rest)


@pytest.fixture
def queues():
    return Queues.of(["celery", "feeds", "images"])


def test_without_the_setting_there_is_the_default_queue():
    queues = Queues.of(default_queue="main")
    assert queues.selected == ("main",)
    assert queues.find("main") == Queue("main", "main", "main")


@pytest.mark.parametrize(
    "written",
    [
        ["feeds"],
        [Queue("feeds", "feeds", "feeds")],
        {"feeds": {"exchange": "feeds"}},
        {"feeds": {"exchange": "feeds", "binding_key": "feeds"}},
        {"feeds": Queue("feeds", "feeds", "feeds")},
        [KombusQueue("feeds", KombusExchange("feeds"), "feeds")],
        [KombusQueue("feeds", "feeds", "feeds")],
    ],
)
def test_a_queue_may_be_written_as_a_name_a_dictionary_or_an_object(written):
    queues = Queues.of(written)
    assert dict(queues.defined) == {"feeds": Queue("feeds", exchange="feeds", routing_key="feeds")}


def test_what_a_queue_leaves_out_it_gets_from_the_defaults():
    queues = Queues.of(
        [Queue("feeds")],
        default_exchange="tasks",
        default_exchange_type="topic",
        default_routing_key="task.#",
        max_priority=7,
    )
    assert queues.find("feeds") == Queue("feeds", "tasks", "task.#", "topic", max_priority=7)


@pytest.mark.parametrize(
    "written",
    [
        {"feeds": {"max_priority": 5}},
        {"feeds": {"queue_arguments": {"x-max-priority": 5}}},
        [KombusQueue("feeds", None, "", max_priority=5)],
        [KombusQueue("feeds", None, "", queue_arguments={"x-max-priority": 5}, max_priority=None)],
    ],
)
def test_a_queues_own_highest_priority_goes_before_the_default(written):
    assert Queues.of(written, max_priority=9).find("feeds").max_priority == 5


def test_what_else_is_declared_of_a_queue_is_kept():
    queue = Queue.of(KombusQueue("feeds", KombusExchange("x", "topic"), "k", durable=True, expires=None, alias="f"))
    assert (queue.exchange_type, dict(queue.declaration), queue.alias) == ("topic", {"durable": True}, "f")


def test_a_queue_receives_what_is_sent_to_its_binding_and_to_further_ones():
    bindings = [Binding("x", "a"), {"exchange": "y", "routing_key": "b.*", "exchange_type": "topic"}]
    queue = Queue.of_options("feeds", {"exchange": "feeds", "bindings": bindings})
    assert queue.receives("feeds", "feeds")
    assert queue.receives("x", "a")
    assert queue.receives("y", "b.c")
    assert not queue.receives("x", "b")
    assert not queue.receives("y", "b.c.d")


def test_topics_are_matched_as_by_celerys_stores():
    keys = ["a", "a.b", "a.b.c", "b", "", "a.", ".a", "a+b", "axb", "a.b.b", "a\n.b"]
    patterns = ["a", "a.b", "a.*", "*.b", "#", "a.#", "#.b", "*", "*.*", "a.*.c", "a.#.b", "a+b", "a.b#", ""]
    theirs = ask_celery(
        "from kombu.transport.virtual.exchange import TopicExchange\n"
        "topic = TopicExchange(None)\n"
        "answer = [bool(topic._match(topic.key_to_pattern(p), k)) for p in given[0] for k in given[1]]",
        [patterns, keys],
    )
    ours = [Binding("x", pattern, "topic").matches("x", key) for pattern in patterns for key in keys]
    pairs = [(pattern, key) for pattern in patterns for key in keys]
    assert [pair for pair, a, b in zip(pairs, ours, theirs, strict=True) if a != b] == []


def test_a_missing_queue_is_created_with_an_exchange_and_key_of_its_name(queues):
    assert queues.find("new") == Queue("new", exchange="new", routing_key="new")
    assert "new" not in queues.selected


def test_a_queue_is_found_by_its_alias():
    assert Queues.of([Queue("feeds", alias="f")], create_missing=False).find("f").name == "feeds"


def test_a_missing_queue_that_may_not_be_created_is_an_error_with_a_hint():
    with pytest.raises(
        QueueNotFound, match="no queue 'feds' in the setting task_queues; there are feeds; did you mean"
    ) as caught:
        Queues.of(["feeds"], create_missing=False).find("feds")
    assert isinstance(caught.value, KeyError)


def test_selecting_takes_just_these_in_their_order_and_changes_no_other_value(queues):
    assert queues.select(["images", "celery", "images"]).selected == ("images", "celery")
    assert queues.select("feeds").selected == ("feeds",)
    assert queues.select([]).selected == queues.selected == ("celery", "feeds", "images")


def test_selecting_a_missing_queue_creates_it_or_is_an_error(queues):
    assert queues.select(["new"]).selected == ("new",)
    with pytest.raises(QueueNotFound, match="there are feeds"):
        Queues.of(["feeds"], create_missing=False).select(["zzz"])


def test_deselecting_leaves_the_others(queues):
    assert queues.deselect(["feeds"]).selected == ("celery", "images")
    assert queues.deselect("feeds").selected == ("celery", "images")
    assert queues.select(["new", "feeds"]).deselect(["new"]).selected == ("feeds",)
    assert queues.select(["feeds"]).deselect(["images"]).selected == ("feeds",)
    assert queues.deselect([]) == queues


def test_deselecting_a_queue_that_there_is_not_is_an_error_though_missing_ones_are_created(queues):
    with pytest.raises(QueueNotFound, match="did you mean 'feeds'"):
        queues.deselect(["fedes"])


def test_deselecting_all_is_an_error(queues):
    with pytest.raises(ConfigError, match="no queue is left; excluded: celery, feeds, images"):
        queues.deselect(["images", "celery", "feeds"])


def test_an_exchange_in_a_queue_of_ours_is_its_name():
    with pytest.raises(ConfigError, match="an exchange is given by its name"):
        Queue("feeds", KombusExchange("x"))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("feeds", "must be a list or a dictionary of queues, not 'feeds'"),
        (5, "must be a list or a dictionary of queues, not 5"),
        ([5], "a queue is a name, a dictionary or a Queue, not 5"),
        ([""], "the name of a queue is a non-empty string, not ''"),
        ({"feeds": {"exchang": "x"}}, "queue 'feeds' has no option 'exchang'; did you mean 'exchange'"),
        ({"feeds": {"zzz": 1}}, "queue 'feeds' has no option 'zzz'; there are exchange"),
        ({"feeds": {"max_priority": "10"}}, "max_priority is a whole number from 0 to 255, not '10'"),
        ([KombusQueue("all", KombusExchange("all", "fanout"), "")], "exchange 'all' is of type 'fanout'"),
    ],
)
def test_what_is_no_queue_is_an_error(written, message):
    with pytest.raises(ConfigError, match=message):
        Queues.of(written)
