"""The names of settings: Celery's old upper-case ones, a namespace before them, and what a slip of the pen meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from celeriac.settings.table import SETTINGS

__all__ = ["OLD_NAMES", "closest", "looks_like_setting", "meant", "new_name", "with_prefix"]

#: How old names of these groups begin, in place of the group. Of other groups they are the new ones in capitals, with a
#: prefix or not.
_OLD_GROUPS = {"beat": "CELERYBEAT_", "task": "CELERY_", "worker": "CELERYD_"}
_PREFIXED_GROUPS = {
    "arangodb",
    "cache",
    "couchbase",
    "elasticsearch",
    "event",
    "mongodb",
    "redis",
    "result",
    "security",
}
_PREFIXED = {"accept_content", "imports", "include", "timezone"}
_OWN = {
    "dead_letter_max_age",
    "dead_letter_max_size",
    "max_deliveries",
    "max_interruptions",
    "revoke_expires",
    "unknown_task_wait",
    "worker_lease",
    "worker_shutdown_grace",
}
#: Where the rule does not hold (Celery 5.7, celery/app/defaults.py).
_IRREGULAR = {
    "database_engine_options": "CELERY_RESULT_ENGINE_OPTIONS",
    "database_short_lived_sessions": "CELERY_RESULT_DB_SHORT_LIVED_SESSIONS",
    "database_table_names": "CELERY_RESULT_DB_TABLENAMES",
    "database_url": "CELERY_RESULT_DBURI",
    "result_accept_content": "RESULT_ACCEPT_CONTENT",
    "result_cache_max": "CELERY_MAX_CACHED_RESULTS",
    "result_expires": "CELERY_TASK_RESULT_EXPIRES",
    "task_compression": "CELERY_MESSAGE_COMPRESSION",
    "task_eager_propagates": "CELERY_EAGER_PROPAGATES_EXCEPTIONS",
    "task_protocol": "CELERY_TASK_PROTOCOL",
    "task_publish_retry": "CELERY_TASK_PUBLISH_RETRY",
    "task_publish_retry_policy": "CELERY_TASK_PUBLISH_RETRY_POLICY",
    "task_send_sent_event": "CELERY_SEND_TASK_SENT_EVENT",
    "task_serializer": "CELERY_TASK_SERIALIZER",
    "task_soft_time_limit": "CELERYD_TASK_SOFT_TIME_LIMIT",
    "task_time_limit": "CELERYD_TASK_TIME_LIMIT",
    "worker_direct": "CELERY_WORKER_DIRECT",
    "worker_disable_rate_limits": "CELERY_DISABLE_RATE_LIMITS",
    "worker_enable_remote_control": "CELERY_ENABLE_REMOTE_CONTROL",
    "worker_lost_wait": "CELERYD_WORKER_LOST_WAIT",
    "worker_redirect_stdouts": "CELERY_REDIRECT_STDOUTS",
    "worker_redirect_stdouts_level": "CELERY_REDIRECT_STDOUTS_LEVEL",
    "worker_send_task_events": "CELERY_SEND_EVENTS",
}


def _old_name(name: str, group: str) -> str:
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    if group in _OLD_GROUPS:
        return _OLD_GROUPS[group] + name.removeprefix(f"{group}_").upper()
    return ("CELERY_" if group in _PREFIXED_GROUPS or name in _PREFIXED else "") + name.upper()


#: Old name -> name.
OLD_NAMES: Mapping[str, str] = {
    _old_name(name, setting.group): name for name, setting in SETTINGS.items() if name not in _OWN
}


def with_prefix(name: str, namespace: str) -> str:
    """A setting's name in a namespace: in capitals if the namespace is."""
    prefix = namespace.rstrip("_") + "_"
    return (prefix + name).upper() if prefix.isupper() else (prefix + name).lower()


def new_name(name: str, namespace: str | None = None) -> str:
    """The name as the table has it, of one that may be old or have the namespace before it; others as they are."""
    if name in SETTINGS:
        return name
    bare = name[len(namespace.rstrip("_")) + 1 :].lower() if namespace else ""
    if namespace and (bare in SETTINGS or name not in OLD_NAMES) and with_prefix(bare, namespace) == name:
        return bare
    return OLD_NAMES.get(name, name)


def meant(name: str) -> str | None:
    """The setting that an unknown name is nearly, or None."""
    if name.isupper() and name.startswith(("CELERY", "BROKER")):
        bare = name.removeprefix("CELERY_").lower()
        if bare in SETTINGS:
            return bare  # read only with a namespace; Celery passes over it in silence
        from difflib import get_close_matches

        near = get_close_matches(name, OLD_NAMES, n=1, cutoff=0.9)
        return OLD_NAMES[near[0]] if near else closest(bare, SETTINGS)
    return None if name.isupper() and "_" not in name else closest(name, SETTINGS)


def looks_like_setting(name: str) -> bool:
    """Whether a name begins as those of settings do."""
    if name.isupper():
        return name.startswith(("CELERY_", "CELERYD_", "CELERYBEAT_", "BROKER_"))
    return "_" in name and name.partition("_")[0] in {setting.partition("_")[0] for setting in SETTINGS}


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that this one is nearly, or None."""
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), known, n=1, cutoff=0.84)
    return near[0] if near else None
