"""Settings against the released Celery: names, defaults, old names, and which source holds."""

from __future__ import annotations

import json
import subprocess
import warnings
from typing import Any

import pytest

from celeriac.configuration import defer_object
from celeriac.exceptions import ConfigError
from celeriac.settings import OLD_NAMES, SETTINGS, Settings
from wire.fleet.sides import CELERY_PYTHON, need_peers

#: Default that is not Celery's -> why.
DIFFERENT = {"task_acks_late": "a lost run is repeated"}
#: Settings that Celery has not.
OWN = {
    "dead_letter_max_age",
    "dead_letter_max_size",
    "max_deliveries",
    "max_interruptions",
    "revoke_expires",
    "unknown_task_wait",
    "worker_lease",
    "worker_shutdown_grace",
}

_ORACLE = """
import json, os, sys
from datetime import timedelta
from celery import Celery
from celery.app.defaults import _TO_NEW_KEY, DEFAULTS

def outcome(steps, names):
    app = Celery("oracle", set_as_current=False)
    try:
        for what, values, *namespace in steps:
            if what == "code":
                app.conf.update(values)
            elif what == "keywords":
                app = Celery("oracle", set_as_current=False, **values)
            elif what == "object":
                app.config_from_object(values, namespace=namespace[0] if namespace else None)
            elif what == "defaults":
                app.add_defaults(values)
            elif what == "read":
                app.conf.task_serializer
            elif what == "environment":
                os.environ.update(values)
        return [getattr(app.conf, name) for name in names]
    except Exception as error:
        return type(error).__name__
    finally:
        for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"):
            os.environ.pop(name, None)

def plain(value):
    return value.total_seconds() if isinstance(value, timedelta) else value

json.dump({
    "defaults": {name: plain(value) for name, value in DEFAULTS.items()},
    "old_names": _TO_NEW_KEY,
    "outcomes": [outcome(*scenario) for scenario in json.load(sys.stdin)],
}, sys.stdout)
"""

_QUEUE = ["task_default_queue"]


def _queue(name: str) -> dict[str, str]:
    return {"task_default_queue": name}


#: What is done with settings, and which are then read.
SCENARIOS: dict[str, tuple[list[list[Any]], list[str]]] = {
    "code before an object": ([["code", _queue("code")], ["object", _queue("object")]], _QUEUE),
    "code after an object": ([["object", _queue("object")], ["code", _queue("code")]], _QUEUE),
    "code, read, object": ([["code", _queue("code")], ["read", {}], ["object", _queue("object")]], _QUEUE),
    "read, code, object": ([["read", {}], ["code", _queue("code")], ["object", _queue("object")]], _QUEUE),
    "object, read, code, object": (
        [["object", _queue("1")], ["read", {}], ["code", _queue("code")], ["object", _queue("2")]],
        _QUEUE,
    ),
    "object, read, code": ([["object", _queue("object")], ["read", {}], ["code", _queue("code")]], _QUEUE),
    "keywords, object": ([["keywords", _queue("keyword")], ["object", _queue("object")]], _QUEUE),
    "keywords, read, object": ([["keywords", _queue("keyword")], ["read", {}], ["object", _queue("object")]], _QUEUE),
    "keywords, code": ([["keywords", _queue("keyword")], ["code", _queue("code")]], _QUEUE),
    "two objects": (
        [["object", {**_queue("1"), "timezone": "UTC"}], ["object", _queue("2")]],
        ["task_default_queue", "timezone"],
    ),
    "two objects, one read": (
        [["object", {**_queue("1"), "timezone": "UTC"}], ["read", {}], ["object", _queue("2")]],
        ["task_default_queue", "timezone"],
    ),
    "defaults before an object": ([["defaults", _queue("defaults")], ["object", _queue("object")]], _QUEUE),
    "defaults after an object": (
        [["object", _queue("object")], ["read", {}], ["defaults", _queue("defaults")]],
        _QUEUE,
    ),
    "two defaults": ([["defaults", _queue("1")], ["defaults", _queue("2")]], _QUEUE),
    "defaults and code": ([["defaults", _queue("defaults")], ["code", _queue("code")]], _QUEUE),
    "environment and keywords": (
        [
            ["keywords", {"broker_url": "redis://keyword", "result_backend": "redis://keyword/1"}],
            ["environment", {"CELERY_BROKER_URL": "redis://env", "CELERY_RESULT_BACKEND": "redis://env/1"}],
        ],
        ["broker_url", "broker_read_url", "broker_write_url", "result_backend"],
    ),
    "environment and an object": (
        [["object", {"broker_url": "redis://object"}], ["environment", {"CELERY_BROKER_URL": "redis://env"}]],
        ["broker_url"],
    ),
    "an empty environment": (
        [["object", {"broker_url": "redis://object"}], ["environment", {"CELERY_BROKER_URL": ""}]],
        ["broker_url"],
    ),
    "old names": (
        [["object", {"CELERY_DEFAULT_QUEUE": "old", "CELERYD_CONCURRENCY": 3, "BROKER_URL": "redis://old"}]],
        ["task_default_queue", "worker_concurrency", "broker_url", "CELERY_DEFAULT_QUEUE"],
    ),
    "old names in code": ([["code", {"CELERY_DEFAULT_QUEUE": "old"}]], ["task_default_queue", "CELERY_DEFAULT_QUEUE"]),
    "old names as keywords": ([["keywords", {"CELERY_DEFAULT_QUEUE": "old"}]], _QUEUE),
    "the old and the new name": ([["object", {**_queue("new"), "CELERY_DEFAULT_QUEUE": "old"}]], _QUEUE),
    "one old name among new ones": (
        [["object", {"CELERY_DEFAULT_QUEUE": "old", "task_serializer": "json", "timezone": "UTC"}]],
        _QUEUE,
    ),
    "one new name among old ones": (
        [["object", {"CELERY_DEFAULT_QUEUE": "old", "CELERY_TIMEZONE": "UTC", "task_serializer": "json"}]],
        _QUEUE,
    ),
    "namespace": (
        [["object", {"CELERY_TASK_DEFAULT_QUEUE": "new", "CELERY_BROKER_URL": "redis://new"}, "CELERY"]],
        ["task_default_queue", "broker_url"],
    ),
    "namespace and old names": (
        [["object", {"CELERY_DEFAULT_QUEUE": "old", "CELERYD_CONCURRENCY": 3, "BROKER_URL": "redis://old"}, "CELERY"]],
        ["task_default_queue", "worker_concurrency", "broker_url"],
    ),
    "namespace and names without it": (
        [["object", {**_queue("bare"), "CELERY_TASK_SERIALIZER": "json", "task_serializer": "bare"}, "CELERY"]],
        ["task_default_queue", "task_serializer"],
    ),
    "a namespace in small letters": (
        [["object", {"proj_task_default_queue": "small", "proj_WORKER_CONCURRENCY": 3}, "proj"]],
        ["task_default_queue"],
    ),
    "names with the namespace in code": (
        [
            ["object", {"CELERY_TASK_DEFAULT_QUEUE": "object"}, "CELERY"],
            ["code", {"CELERY_TASK_DEFAULT_QUEUE": "code"}],
        ],
        ["task_default_queue"],
    ),
    "Django's time zone": ([["object", {"TIME_ZONE": "Europe/Vienna"}, "CELERY"]], ["timezone"]),
    "Celery's time zone and Django's": (
        [["object", {"TIME_ZONE": "Europe/Vienna", "CELERY_TIMEZONE": "UTC"}, "CELERY"]],
        ["timezone"],
    ),
    "derived": (
        [["object", {**_queue("q"), "broker_url": "redis://one"}]],
        ["task_default_exchange", "task_default_routing_key", "broker_read_url", "broker_write_url"],
    ),
}


@pytest.fixture(scope="module")
def celery() -> dict[str, Any]:
    """What the released Celery says."""
    need_peers()
    done = subprocess.run(
        [str(CELERY_PYTHON), "-c", _ORACLE],
        input=json.dumps(list(SCENARIOS.values())),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_the_settings_are_celerys_and_our_own(celery: dict[str, Any]) -> None:
    assert set(SETTINGS) == celery["defaults"].keys() | OWN


def test_defaults_are_celerys_but_for_those_with_a_reason(celery: dict[str, Any]) -> None:
    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    different = {name for name, value in celery["defaults"].items() if plain(SETTINGS[name].default) != value}
    assert different == DIFFERENT.keys()


def test_old_names_are_those_that_celery_understands(celery: dict[str, Any]) -> None:
    assert celery["old_names"] == OLD_NAMES


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_same_source_holds_as_in_celery(
    scenario: str, celery: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, names = SCENARIOS[scenario]
    expected = celery["outcomes"][list(SCENARIOS).index(scenario)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert _outcome(steps, names, monkeypatch) == expected


def _outcome(steps: list[list[Any]], names: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    conf = Settings()
    try:
        for what, values, *namespace in steps:
            if what in ("code", "keywords"):
                conf.update(values)
            elif what == "object":
                defer_object(conf, values, namespace=namespace[0] if namespace else None)
            elif what == "defaults":
                conf.add_defaults(values)
            elif what == "read":
                _ = conf.task_serializer
            else:
                for name, value in values.items():
                    monkeypatch.setenv(name, value)
        return [getattr(conf, name) for name in names]
    except ConfigError:
        return "ImproperlyConfigured"
