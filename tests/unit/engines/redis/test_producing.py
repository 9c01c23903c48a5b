"""What calls cost the server: round trips, connections, bytes; and that a mishap of one is not another's."""

import asyncio
import threading

import pytest

from celeriac import Celery
from celeriac.calling import make_outgoing
from celeriac.engines.base import Revocation
from celeriac.engines.redis.connection import Connection
from celeriac.engines.redis.urls import parse
from celeriac.exceptions import BrokerError, OperationalError
from support.proxy import Proxy


@pytest.fixture
def make_app(server):
    apps = []

    def make(url=None, **settings):
        apps.append(Celery("unit", broker=url or server.url(), set_as_current=False, **settings))
        return apps[-1].task(lambda x, y=0: None, name="unit.add")

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def add(make_app):
    add = make_app()
    add.delay(0)  # connects, and the server learns the script
    return add


def ask(server, *command):
    connection = Connection(parse(server.url(), {}, 10.0))
    try:
        return connection.call(*command)
    finally:
        connection.close()


def scripts_run(server):
    """How many scripts the server has run since it was last asked to forget."""
    lines = ask(server, "INFO", "commandstats").decode().split("\r\n")
    found = [line for line in lines if line.startswith("cmdstat_evalsha:")]
    return int(found[0].partition("calls=")[2].partition(",")[0]) if found else 0


def producers(server):
    """How many connections have last run a script."""
    return ask(server, "CLIENT", "LIST").count(b" cmd=evalsha")


def run_in_threads(count, work):
    errors = []

    def run(number):
        try:
            work(number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert errors == []


def test_a_call_is_one_round_trip(add, server):
    server.call("CONFIG", "RESETSTAT")
    for number in range(10):
        add.apply_async((number,), queue="mail", priority=3)
    assert scripts_run(server) == 10


async def test_a_thousand_coroutines_share_a_few_round_trips(add, server):
    server.call("CONFIG", "RESETSTAT")
    results = await asyncio.gather(*(add.adelay(number) for number in range(1000)))
    assert len({result.id for result in results}) == 1000
    assert server.call("LLEN", "celery") == b":1001"
    assert scripts_run(server) <= 3


def test_many_calls_go_by_the_thousand(add, server):
    server.call("CONFIG", "RESETSTAT")
    add.delay_many((number,) for number in range(10_000))
    assert server.call("LLEN", "celery") == b":10001"
    assert scripts_run(server) == 10


def test_many_calls_keep_their_order(add):
    ids = [result.id for result in add.delay_many((number,) for number in range(2500))]
    assert [message.id for message in add.app.broker.peek("celery", 2501)][1:] == ids


def test_threads_that_call_at_once_share_round_trips(server, make_app):
    with Proxy(server.port) as proxy:
        proxy.delay_s = 0.02
        add = make_app(f"redis://127.0.0.1:{proxy.port}/0")
        add.delay(0)
        server.call("CONFIG", "RESETSTAT")
        run_in_threads(8, lambda number: [add.delay(number) for _ in range(5)])
    assert server.call("LLEN", "celery") == b":41"
    assert scripts_run(server) <= 20


async def test_a_key_of_another_type_is_the_trouble_of_those_who_call_there(add, server):
    server.call("SET", "spoiled", "x")
    calls = [asyncio.to_thread(add.apply_async, (1,), queue="spoiled")] + [add.adelay(number) for number in range(20)]
    first, *others = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, BrokerError)
    assert "spoiled is a string" in str(first)
    assert [one for one in others if isinstance(one, Exception)] == []
    assert server.call("LLEN", "celery") == b":21"


async def test_of_coroutines_that_share_a_round_trip_the_one_that_is_refused_alone_fails(add, server):
    server.call("SET", "spoiled", "x")
    options = [{"queue": "spoiled"} if number == 7 else {} for number in range(20)]
    calls = [make_outgoing(add.app, add.name, [number], {}, given, add) for number, given in enumerate(options)]
    ended = await asyncio.gather(*map(add.app.publisher.publish_async, calls), return_exceptions=True)
    assert [number for number, one in enumerate(ended) if one is not None] == [7]
    assert isinstance(ended[7], BrokerError)
    assert server.call("LLEN", "celery") == b":20"


async def test_a_coroutine_that_is_cancelled_or_timed_out_takes_no_other_along(server, make_app):
    with Proxy(server.port) as proxy:
        add = make_app(f"redis://127.0.0.1:{proxy.port}/0")
        await add.adelay(0)
        proxy.delay_s = 0.1
        tasks = [asyncio.create_task(add.adelay(number)) for number in range(10)]
        await asyncio.sleep(0.02)
        tasks[3].cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(tasks[4], 0.01)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [number for number, one in enumerate(ended) if isinstance(one, BaseException)] == [3, 4]
    assert server.call("LLEN", "celery") == b":11"


def test_many_calls_whose_connection_breaks_are_stored_once(server, make_app):
    with Proxy(server.port) as proxy:
        add = make_app(f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=0.5")
        add.delay(0)
        proxy.swallow(b"EVALSHA", 1)
        results = add.delay_many((number,) for number in range(5000))
        ids = [message.id for message in add.app.broker.peek("celery", 6000)][1:]
    assert ids == [result.id for result in results]


def test_many_calls_that_may_not_be_repeated_fail_with_the_first_lost_answer(server, make_app):
    with Proxy(server.port) as proxy:
        add = make_app(f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=0.5")
        add.delay(0)
        proxy.swallow(b"EVALSHA", 1)
        with pytest.raises(OperationalError):
            add.delay_many([(1,)] * 3000, retry=False)


def test_the_connections_of_a_producer(add, server):
    """docs/redis.md, Connections."""

    async def call():
        await asyncio.gather(*(add.adelay(number) for number in range(100)))

    run_in_threads(8, lambda number: [add.delay(number) for _ in range(50)])
    asyncio.run(call())
    assert producers(server) == 1
    run_in_threads(3, lambda number: add.delay_many((number,) for _ in range(3000)))
    assert producers(server) <= 1 + 3


def test_a_queued_task_takes_half_of_what_celerys_takes(add, server):
    """Celery 5.7 writes 969 bytes for this call on this machine; what its workers fill in need not be written."""
    server.call("FLUSHALL")
    add.delay(1, 2)
    assert len(ask(server, "LINDEX", "celery", 0)) < 500


def test_an_id_within_the_arguments_is_none_of_the_message(add):
    broker = add.app.broker
    add.delay({"id": "other", "correlation_id": "other"})
    broker.revoke([Revocation("other", 4e9)])
    assert [found for looked_at in broker.search(["other"]) for found in looked_at] == []
    (result,) = add.delay_many([(1,)])
    (found,) = [found for looked_at in broker.search([result.id]) for found in looked_at]
    assert found.message.id == result.id
