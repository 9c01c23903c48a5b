import pytest

from celeriac.worker.policies import policies
from celeriac.worker.recovery import Policy


def test_tasks_that_ask_for_nothing_are_left_out(app):
    app.task(name="unit.job")(lambda: None)
    assert policies(app) == {}


@pytest.mark.parametrize(
    ("settings", "options", "policy"),
    [
        ({}, {"reject_on_worker_lost": False}, Policy(repeat=False)),
        ({"task_reject_on_worker_lost": False}, {}, Policy(repeat=False)),
        ({"task_reject_on_worker_lost": False}, {"reject_on_worker_lost": True}, None),
        ({}, {"retry_on_worker_lost": True}, Policy(retry=True)),
        ({"task_retry_on_worker_lost": True}, {"retry_on_worker_lost": False}, None),
        ({"task_acks_on_failure_or_timeout": False}, {}, Policy(repeat_at_limit=True)),
        ({"task_acks_on_failure_or_timeout": False}, {"acks_on_failure_or_timeout": True}, None),
        ({"task_acks_on_timeout": True}, {"acks_on_failure_or_timeout": False}, None),
        ({"task_acks_on_timeout": True}, {"acks_on_timeout": False}, Policy(repeat_at_limit=True)),
    ],
)
def test_what_is_about_timeouts_alone_wins_and_the_task_over_the_settings(app, settings, options, policy):
    """In Celery's order; without a policy the usual holds."""
    app.conf.update(settings)
    app.task(name="unit.job", **options)(lambda: None)
    assert policies(app).get("unit.job") == policy
