import os
import pickle
import socket

import pytest

from celeriac.exceptions import ConfigError
from celeriac.worker.leases import LeaseService
from celeriac.worker.plan import Wishes, make_plan
from celeriac.worker.processors import available_processors


@pytest.fixture
def file_app(tmp_path, make_app):
    return make_app("proj", broker=f"sqlite:///{tmp_path}/a.db")


def test_without_wishes_the_settings_decide(file_app):
    file_app.conf.update(worker_concurrency=3, task_default_queue="main", max_deliveries=9, worker_lease=20)
    file_app.task(name="b")(print)
    file_app.task(name="a")(print)
    plan = make_plan(Wishes("proj"), file_app)
    assert (plan.app_name, plan.tasks, plan.queues, plan.concurrency, plan.pool) == (
        "proj",
        ("a", "b"),
        ("main",),
        3,
        "prefork",
    )
    assert (plan.max_deliveries, plan.lease_s, plan.acks_late, plan.redirect_level) == (9, 20.0, True, "WARNING")


def test_wishes_win(file_app):
    file_app.conf.update(worker_concurrency=3)
    plan = make_plan(Wishes("proj", queues=("a", "b"), concurrency=7), file_app)
    assert (plan.queues, plan.concurrency) == (("a", "b"), 7)


def test_without_a_number_there_is_one_child_for_each_processor(file_app):
    assert make_plan(Wishes("proj"), file_app).concurrency == available_processors()


@pytest.mark.parametrize(
    ("pool", "children", "slots"),
    [
        ("prefork", ["ForkPoolWorker-1", "ForkPoolWorker-2", "ForkPoolWorker-3"], 1),
        ("threads", ["ThreadPool"], 3),
        ("asyncio", ["AsyncioPool"], 3),
        ("solo", ["MainProcess"], 1),
    ],
)
def test_slots_are_shared_out_to_children_as_the_pool_does(file_app, pool, children, slots):
    plan = make_plan(Wishes("proj", pool=pool, concurrency=3), file_app)
    assert (plan.children, plan.slots) == (children, slots)


def test_solo_refuses_a_hard_limit_in_the_settings(file_app):
    file_app.conf.task_time_limit = 5
    with pytest.raises(ConfigError, match=r"setting task_time_limit has a hard time limit.*-P prefork -c 1"):
        make_plan(Wishes("proj", pool="solo"), file_app)


def test_solo_refuses_a_task_with_a_hard_limit(file_app):
    task = file_app.task(name="a")(print)
    task.time_limit = 5
    with pytest.raises(ConfigError, match="task a has a hard time limit"):
        make_plan(Wishes("proj", pool="solo"), file_app)
    assert make_plan(Wishes("proj", pool="threads"), file_app).pool == "threads"


def test_what_a_child_may_run_and_hold_is_part_of_the_plan(file_app):
    file_app.conf.update(worker_max_tasks_per_child=7, worker_max_memory_per_child=1000)
    plan = make_plan(Wishes("proj"), file_app)
    assert (plan.most_runs, plan.most_memory_kib) == (7, 1000)


def test_solo_is_one_at_a_time(file_app):
    assert make_plan(Wishes("proj", pool="solo", concurrency=8), file_app).concurrency == 1


@pytest.mark.parametrize("pool", [None, "prefork"])
def test_a_store_in_memory_is_for_solo_alone(app, pool):
    with pytest.raises(ConfigError, match="-P solo"):
        make_plan(Wishes("proj", pool=pool), app)
    assert make_plan(Wishes("proj", pool="solo"), app).pool == "solo"


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (None, "celery@web1.example.org"),
        ("mail@%h", "mail@web1.example.org"),
        ("mail@%n", "mail@web1"),
        ("%n@%d", "web1@example.org"),
        ("mail", "mail@web1.example.org"),
        ("a@b", "a@b"),
    ],
)
def test_a_worker_is_named_as_celery_names_it(file_app, monkeypatch, wanted, name):
    monkeypatch.setattr(socket, "gethostname", lambda: "web1.example.org")
    assert make_plan(Wishes("proj", hostname=wanted), file_app).hostname == name


def test_every_start_is_a_node_of_its_own(file_app):
    assert make_plan(Wishes("proj"), file_app).node_id != make_plan(Wishes("proj"), file_app).node_id


def test_a_plan_travels_between_processes(file_app):
    plan = make_plan(Wishes("proj"), file_app)
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_the_supervisor_opens_the_same_store_without_an_application(file_app):
    plan = make_plan(Wishes("proj"), file_app)
    broker = plan.open_broker()
    assert broker.describe() == file_app.broker.describe()
    assert plan.open_results(broker) is broker.result_store()


def test_the_supervisor_opens_another_result_store_too(tmp_path, file_app):
    file_app.conf.result_backend = f"sqlite:///{tmp_path}/results.db"
    plan = make_plan(Wishes("proj"), file_app)
    assert plan.open_results(plan.open_broker()).describe() == f"sqlite:///{tmp_path}/results.db"


def test_no_redirecting_is_no_level(file_app):
    file_app.conf.worker_redirect_stdouts = False
    assert make_plan(Wishes("proj"), file_app).redirect_level is None


def test_the_node_is_who_asks(file_app):
    node = make_plan(Wishes("proj", concurrency=2, queues=("a",)), file_app).node()
    assert (node.pid, node.pool, node.concurrency, node.queues) == (os.getpid(), "prefork", 2, ("a",))


def test_no_call_of_the_supervisor_takes_as_long_as_its_lease(file_app):
    file_app.conf.update(worker_lease=2.0, broker_url="redis://127.0.0.1:1/0", result_backend="redis://127.0.0.1:2/0")
    plan = make_plan(Wishes(app="tasks"), file_app)
    broker = plan.open_broker()
    assert broker.client.address.timeout_s == 0.5
    assert plan.open_results(broker).client.address.timeout_s == 0.5


def test_after_an_outage_the_lease_is_renewed_before_others_may_take_over(file_app):
    file_app.conf.update(worker_lease=1.2)
    plan = make_plan(Wishes(app="tasks"), file_app)
    broker = plan.open_broker()
    service = LeaseService(plan, broker, broker.result_store())
    longest_s = max(service._backoff.delay_s(attempt, lambda _low, high: high) for attempt in range(1, 100))
    assert longest_s + plan.lease_s / 4 < plan.lease_s / 2
