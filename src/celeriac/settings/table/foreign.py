"""Settings of the result stores that Celery has and celeriac has not: known, so that a configuration can be read."""

from __future__ import annotations

from typing import Any

from celeriac.settings.checks import anything
from celeriac.settings.setting import Setting, accepted

__all__ = ["FOREIGN"]


def _store(store: str, **settings: tuple[Any, str]) -> tuple[Setting, ...]:
    note = "there is no such result store; result_backend takes sqlite:// and redis:// URLs"
    return tuple(
        accepted(f"{store}_{name}", default, anything, f"{store}: {meaning}", note)
        for name, (default, meaning) in settings.items()
    )


FOREIGN = (
    *_store("arangodb", backend_settings=(None, "all options in one")),
    *_store(
        "azureblockblob",
        container_name=("celery", "the container of results"),
        base_path=("", "the folder in it"),
        connection_timeout=(20, "seconds to connect"),
        read_timeout=(120, "seconds for an answer"),
        retry_initial_backoff_sec=(2, "seconds before the first retry"),
        retry_increment_base=(2, "how the pauses grow"),
        retry_max_attempts=(3, "retries at most"),
    ),
    *_store("cache", backend=(None, "the cache that keeps results"), backend_options=({}, "its options")),
    *_store(
        "cassandra",
        servers=(None, "the hosts"),
        port=(None, "their port"),
        bundle_path=(None, "a file that says how to connect, in place of hosts"),
        keyspace=(None, "the keyspace"),
        table=(None, "the table of results"),
        entry_ttl=(None, "seconds that rows live"),
        read_consistency=(None, "consistency of reads"),
        write_consistency=(None, "consistency of writes"),
        auth_provider=(None, "the class that logs in"),
        auth_kwargs=(None, "its arguments"),
        options=({}, "further options"),
    ),
    *_store(
        "cosmosdbsql",
        database_name=("celerydb", "the database"),
        collection_name=("celerycol", "the collection in it"),
        consistency_level=("Session", "consistency"),
        max_retry_attempts=(9, "retries at most"),
        max_retry_wait_time=(30, "seconds of them at most"),
    ),
    *_store("couchbase", backend_settings=(None, "all options in one")),
    *_store(
        "database",
        url=(None, "the database that keeps results"),
        engine_options=({"pool_pre_ping": True, "pool_recycle": 3600}, "options of its engine"),
        engine_callback=(None, "a function that is given the engine"),
        short_lived_sessions=(False, "a session for each call"),
        table_schemas=(None, "the schemas of tables"),
        table_names=(None, "the names of tables"),
        create_tables_at_setup=(True, "make the tables at the start"),
    ),
    *_store(
        "elasticsearch",
        timeout=(None, "seconds for an answer"),
        retry_on_timeout=(None, "repeat what timed out"),
        max_retries=(None, "retries at most"),
        save_meta_as_text=(True, "results are text"),
    ),
    *_store(
        "gcs",
        bucket=(None, "the bucket of results"),
        project=(None, "the project"),
        base_path=("", "the folder in the bucket"),
        ttl=(0, "seconds that results live"),
    ),
    *_store("mongodb", backend_settings=(None, "all options in one")),
    *_store(
        "s3",
        bucket=(None, "the bucket of results"),
        base_path=(None, "the folder in it"),
        region=(None, "the region"),
        endpoint_url=(None, "the server, where it is not Amazon's"),
        access_key_id=(None, "the id of the key"),
        secret_access_key=(None, "the key"),
    ),
)
