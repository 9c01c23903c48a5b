"""An application's broker and result store: opened at first use, closed together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from celeriac.settings import Settings

if TYPE_CHECKING:
    from celeriac.engines.base import Broker, EngineOptions, ResultStore

__all__ = ["Stores"]


class Stores:
    """Thread-safe. `folder` is where the embedded store lies if none is named."""

    def __init__(self, conf: Callable[[], Settings], folder: str) -> None:
        self._conf = conf
        self.folder = folder
        self._opening = threading.Lock()
        self._broker: Broker | None = None
        self._results: ResultStore | None = None

    @property
    def broker(self) -> Broker:
        """The broker."""
        broker = self._broker
        if broker is None:
            from celeriac.engines import open_broker

            url, options = self.broker_url, self.broker_options
            with self._opening:
                broker = self._broker
                if broker is None:
                    broker = self._broker = open_broker(url, options)
        return broker

    @property
    def results(self) -> ResultStore:
        """The result store; the broker's own store unless `result_backend` names another."""
        if self._results is None:
            from celeriac.engines import open_results

            url, options, broker = self.results_url, self.results_options, self.broker
            with self._opening:
                if self._results is None:
                    self._results = broker.result_store() if url is None else open_results(url, options)
        return self._results

    @property
    def broker_url(self) -> str:
        """The URL that is used."""
        from celeriac.engines import DEFAULT_URL

        return self._conf().broker_url or DEFAULT_URL

    @property
    def results_url(self) -> str | None:
        """The URL of a result store beside the broker's own, or None. Options (a prefix, say) tell two stores apart too."""
        conf = self._conf()
        same_url = conf.result_backend in (None, self.broker_url)
        same_options = conf.result_backend is None or (
            conf.result_backend_transport_options == conf.broker_transport_options
            and conf.redis_backend_use_ssl in (None, conf.broker_use_ssl)
        )
        return None if same_url and same_options else str(conf.result_backend)

    @property
    def broker_options(self) -> EngineOptions:
        """For `open_broker`."""
        return self._options("broker_transport_options", "broker_use_ssl")

    @property
    def results_options(self) -> EngineOptions:
        """For `open_results`."""
        return self._options("result_backend_transport_options", "redis_backend_use_ssl")

    def _options(self, setting: str, tls_setting: str) -> EngineOptions:
        from celeriac.engines.base import EngineOptions

        conf = self._conf()
        tls = conf[tls_setting]
        return EngineOptions(
            self.folder,
            float(conf.broker_connection_timeout),
            conf[setting],
            tls if isinstance(tls, dict) else {} if tls else None,
        )

    def close(self) -> None:
        """Let go of both; the next use opens them again."""
        with self._opening:
            broker, self._broker = self._broker, None
            results, self._results = self._results, None
        for store in (results, broker):
            if store is not None:
                store.close()
