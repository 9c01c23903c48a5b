"""Documents by task id, and hearing of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from celeriac.engines.base import Ack, Broker, Commit, Keep, Record, ResultStore
from conformance.engines import Engine, Other
from conformance.making import YOU, Producer, claim, commit, record
from support.waiting import PATIENCE_S, until


def test_a_stored_document_is_read_by_everyone(results: ResultStore, other: Other) -> None:
    body = b'\x00\xff "any bytes"'
    results.store([record("a", body)])
    assert results.get(["a"]) == {"a": body}
    assert other.results.get(["a"]) == {"a": body}


def test_unknown_ids_have_no_document(results: ResultStore) -> None:
    results.store([record("a")])
    assert set(results.get(["a", "b", ""])) == {"a"}
    assert results.get([]) == {}


def test_storing_nothing_is_no_error(results: ResultStore) -> None:
    results.store([])
    results.forget([])


def test_many_documents_are_stored_and_read_at_once(results: ResultStore) -> None:
    records = [record(f"id-{number}", str(number).encode()) for number in range(1500)]
    results.store(records)
    assert results.get([item.task_id for item in records]) == {item.task_id: item.body for item in records}


def test_a_document_of_eight_megabytes_passes(results: ResultStore) -> None:
    body = b"\x01" * (8 * 2**20)
    results.store([record("a", body)])
    assert results.get(["a"])["a"] == body


def test_forgotten_documents_are_gone(results: ResultStore) -> None:
    results.store([record("a"), record("b"), record("c")])
    results.forget(["a", "c", "unknown"])
    assert set(results.get(["a", "b", "c"])) == {"b"}


def test_the_latest_document_of_one_fence_stands(results: ResultStore) -> None:
    for body in (b"1", b"2", b"3"):
        results.store([record("a", body, fence=5)])
    assert results.get(["a"]) == {"a": b"3"}
    results.store([record("a", b"4", fence=5), record("a", b"5", fence=5)])
    assert results.get(["a"]) == {"a": b"5"}


def test_a_higher_fence_replaces_a_lower_one_and_never_the_reverse(results: ResultStore) -> None:
    results.store([record("a", b"old", fence=5)])
    results.store([record("a", b"new", fence=6)])
    results.store([record("a", b"late", fence=5)])
    results.store([record("a", b"none")])
    assert results.get(["a"]) == {"a": b"new"}


def test_a_refused_document_keeps_no_other_from_being_stored(results: ResultStore) -> None:
    results.store([record("a", b"new", fence=6)])
    results.store([record("a", b"late", fence=5), record("b", b"1", fence=5)])
    assert results.get(["a", "b"]) == {"a": b"new", "b": b"1"}


def test_a_forgotten_document_leaves_no_fence(results: ResultStore) -> None:
    results.store([record("a", b"old", fence=9)])
    results.forget(["a"])
    results.store([record("a", b"new", fence=1)])
    assert results.get(["a"]) == {"a": b"new"}


def test_an_expired_document_leaves_no_fence(results: ResultStore) -> None:
    results.store([record("a", b"old", fence=9, ttl_s=0.02)])
    until(lambda: not results.get(["a"]), "the document expired")
    results.store([record("a", b"new", fence=1)])
    assert results.get(["a"]) == {"a": b"new"}


def test_a_document_expires_without_anyone_sweeping(results: ResultStore) -> None:
    results.store([record("brief", ttl_s=0.05), record("hour", ttl_s=3600.0), record("ever")])
    until(lambda: "brief" not in results.get(["brief"]), "the document expired")
    assert set(results.get(["brief", "hour", "ever"])) == {"hour", "ever"}


def test_storing_again_renews_the_expiry(results: ResultStore) -> None:
    results.store([record("a", b"1", ttl_s=0.02)])
    results.store([record("a", b"2", ttl_s=3600.0)])
    threading.Event().wait(0.05)
    assert results.get(["a"]) == {"a": b"2"}


def test_a_commits_document_expires_too(broker: Broker, producer: Producer, results: ResultStore) -> None:
    producer.send("a")
    (lease,) = claim(broker)
    assert commit(broker, Commit(lease.token, Ack(), record("a", ttl_s=0.02)))
    until(lambda: not results.get(["a"]), "the document expired")


def test_the_brokers_own_result_store_shares_its_store(broker: Broker, connect: Callable[[], Broker]) -> None:
    assert broker.shares_store_with(broker.result_store())
    assert broker.shares_store_with(connect().result_store())


def test_another_store_is_not_shared(engine: Engine, broker: Broker) -> None:
    from celeriac.engines import open_results
    from celeriac.engines.base import EngineOptions

    elsewhere = open_results(":memory:", EngineOptions(engine.folder))
    assert not broker.shares_store_with(elsewhere)
    elsewhere.close()


def test_a_watcher_hears_of_a_store(results: ResultStore) -> None:
    heard = threading.Event()
    with results.watch("a", heard.set):
        results.store([record("a")])
        assert heard.wait(PATIENCE_S)


def test_a_watcher_hears_of_a_store_by_someone_else(results: ResultStore, other: Other) -> None:
    heard = threading.Event()
    with results.watch("a", heard.set):
        other.results.store([record("a")])
        assert heard.wait(PATIENCE_S)


@pytest.mark.parametrize("settling", [Ack(), Keep()])
def test_a_watcher_hears_of_a_commit_by_someone_else(
    results: ResultStore, producer: Producer, other: Other, settling: Ack
) -> None:
    producer.send("a")
    (lease,) = claim(other.broker, owner=YOU)
    heard = threading.Event()
    with results.watch("a", heard.set):
        assert commit(other.broker, Commit(lease.token, settling, record("a", fence=lease.token)), owner=YOU)
        assert heard.wait(PATIENCE_S)


def test_a_watcher_hears_of_every_change(results: ResultStore, other: Other) -> None:
    heard = threading.Event()
    with results.watch("a", heard.set):
        for number in range(5):
            other.results.store([record("a", str(number).encode())])
            assert heard.wait(PATIENCE_S)
            heard.clear()


def test_all_watchers_of_one_id_hear(results: ResultStore, connect: Callable[[], Broker], other: Other) -> None:
    first, second, third = (threading.Event() for _ in range(3))
    with (
        results.watch("a", first.set),
        results.watch("a", second.set),
        connect().result_store().watch("a", third.set),
    ):
        other.results.store([record("a")])
        assert first.wait(PATIENCE_S)
        assert second.wait(PATIENCE_S)
        assert third.wait(PATIENCE_S)


def test_a_watcher_that_leaves_takes_no_other_along(results: ResultStore, other: Other) -> None:
    heard = threading.Event()
    with results.watch("a", heard.set):
        with results.watch("a", lambda: None):
            pass
        other.results.store([record("a")])
        assert heard.wait(PATIENCE_S)


def test_watchers_of_many_ids_hear_of_theirs(results: ResultStore, other: Other) -> None:
    heard = {f"id-{number}": threading.Event() for number in range(300)}
    with ExitStack() as watching:
        for task_id, event in heard.items():
            watching.enter_context(results.watch(task_id, event.set))
        other.results.store([record(task_id) for task_id in list(heard)[:150]])
        for task_id in list(heard)[:150]:
            assert heard[task_id].wait(PATIENCE_S), task_id
        other.results.store([record(task_id) for task_id in list(heard)[150:]])
        assert all(event.wait(PATIENCE_S) for event in heard.values())


def test_a_watcher_may_come_and_go_while_others_do(results: ResultStore, other: Other) -> None:
    missed: list[int] = []

    def watch_often(number: int) -> None:
        for turn in range(8):
            heard = threading.Event()
            with results.watch("shared", heard.set):
                results.store([record("shared", f"{number} {turn}".encode())])
                if not heard.wait(PATIENCE_S / 2):
                    missed.append(number)
                    return

    threads = [threading.Thread(target=watch_often, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S * 2)
    assert missed == []


def test_a_watcher_hears_after_the_store_was_closed_and_used_again(engine: Engine, results: ResultStore) -> None:
    with results.watch("a", lambda: None):
        pass
    results.close()
    heard = threading.Event()
    with results.watch("a", heard.set):
        results.store([record("a")])
        assert heard.wait(PATIENCE_S)


def test_a_document_is_discarded_unless_it_has_been_replaced(results: ResultStore) -> None:
    results.store([Record("a", b"old", fence=3)])
    results.discard("a", b"other")
    results.discard("b", b"old")
    assert results.get(["a"]) == {"a": b"old"}
    results.discard("a", b"old")
    assert results.get(["a"]) == {}
    results.store([Record("a", b"new", fence=2)])
    assert results.get(["a"]) == {"a": b"new"}


def test_of_results_that_were_waited_for_nothing_is_kept(results: ResultStore) -> None:
    with ExitStack() as stack:
        for number in range(50):
            stack.enter_context(results.watch(f"task-{number}", lambda: None))
        assert results.sizes()["results waited for"] == 50
    assert results.sizes()["results waited for"] == 0
