"""`celeriac config`."""

from __future__ import annotations

import json

from support.project import Project


def test_config_shows_what_was_changed_and_where(project: Project) -> None:
    project.with_common_tasks(max_deliveries=5, result_backend="redis://user:hunter2@h/0")
    done = project.celeriac("-b", "sqlite:///other.db", "-A", "tasks", "config", CELERY_RESULT_BACKEND="sqlite:///r.db")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert ["name", "value", "source"] in rows
    assert ["broker_url", "'sqlite:///other.db'", "command line"] in rows
    assert ["max_deliveries", "5", "code"] in rows
    assert ["result_backend", "'sqlite:///r.db'", "environment CELERY_RESULT_BACKEND"] in rows
    assert "worker_pool" not in done.stdout


def test_config_masks_secrets(project: Project) -> None:
    project.with_common_tasks(result_backend="redis://user:hunter2@h/0", my_service_token="hunter3")
    for options in ([], ["--json"], ["--verbose"], ["--all"]):
        done = project.celeriac("-A", "tasks", "config", *options)
        assert done.returncode == 0
        assert "hunter" not in done.stdout
        assert "redis://user:********@h/0" in done.stdout


def test_config_shows_all_settings(project: Project) -> None:
    project.with_common_tasks()
    done = project.celeriac("-A", "tasks", "config", "--all")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["worker_pool", "'prefork'", "default"] in rows


def test_config_shows_the_settings_of_a_pattern_and_what_they_mean(project: Project) -> None:
    project.with_common_tasks()
    done = project.celeriac("-A", "tasks", "config", "worker_le*", "--verbose")
    assert done.stdout.startswith(
        "worker_lease = 15.0  (default)\n  seconds after which a silent worker counts as dead\n"
    )
    assert done.stdout.count("(default)") == 1


def test_config_as_json(project: Project) -> None:
    project.with_common_tasks()
    done = project.celeriac("-A", "tasks", "config", "max_deliveries", "--json")
    facts = json.loads(done.stdout)
    assert [(fact["name"], fact["value"], fact["source"], fact["effect"]) for fact in facts] == [
        ("max_deliveries", 3, "default", "acted on")
    ]


def test_config_of_a_name_that_is_none_says_which_was_meant(project: Project) -> None:
    project.with_common_tasks()
    done = project.celeriac("-A", "tasks", "config", "max_delivery")
    assert done.returncode == 2
    assert "there is no setting 'max_delivery'; did you mean 'max_deliveries'?" in done.stderr
