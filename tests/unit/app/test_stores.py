import pytest

from celeriac import Celery
from celeriac.app.stores import Stores
from celeriac.engines.base import EngineOptions, Receipt
from celeriac.exceptions import ConfigError


def test_making_an_app_and_opening_its_broker_writes_nothing(tmp_path):
    conf = Celery("unit").conf
    stores = Stores(lambda: conf, str(tmp_path))
    assert stores._broker is None
    stores.broker.describe()
    assert not any(tmp_path.iterdir())


def test_the_broker_is_opened_once(app):
    assert app.broker is app.broker
    assert app.results is app.results


def test_results_lie_in_the_brokers_store(app):
    assert app.results is app.broker.result_store()


def test_a_backend_of_the_same_url_is_the_brokers_store(tmp_path, make_app):
    app = make_app(broker=f"sqlite:///{tmp_path}/a.db", backend=f"sqlite:///{tmp_path}/a.db")
    assert app.results is app.broker.result_store()


def test_another_backend_is_another_store(tmp_path, make_app):
    app = make_app(broker=f"sqlite:///{tmp_path}/a.db", backend=f"sqlite:///{tmp_path}/b.db")
    assert app.results.describe() == f"sqlite:///{tmp_path}/b.db"
    assert not app.broker.shares_store_with(app.results)


def test_a_backend_of_the_same_url_with_other_options_is_another_store(make_app):
    url = "redis://127.0.0.1:1/0"
    app = make_app(broker=url, backend=url, result_backend_transport_options={"global_keyprefix": "results"})
    assert app.results is not app.broker.result_store()
    assert app.stores.results_url == url


def test_a_closed_app_opens_its_store_again(tmp_path, make_app):
    app = make_app(broker=f"sqlite:///{tmp_path}/a.db")
    first = app.broker
    first.publish([], Receipt("p", 1))
    app.close()
    app.close()
    assert app.broker is not first
    assert app.broker.queues() == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("amqp://localhost", "has no amqp:// engine yet; it serves memory://, redis://, "),
        ("sqlit://", "did you mean sqlite://"),
        ("mongodb://localhost", "no engine serves 'mongodb' URLs"),
        ("tasks.db", "no engine serves 'tasks.db' URLs"),
    ],
)
def test_a_url_without_an_engine_is_an_error_that_names_the_setting(make_app, url, why):
    with pytest.raises(ConfigError, match="broker_url: ") as caught:
        _ = make_app(broker=url).broker
    assert why in str(caught.value)


def test_the_backends_url_is_checked_too(make_app):
    with pytest.raises(ConfigError, match="result_backend: "):
        _ = make_app(backend="amqp://localhost").results


def test_options_reach_the_engine(make_app):
    app = make_app(broker_connection_timeout=7, broker_transport_options={"synchronous": "normal"})
    assert app.stores.broker_options == EngineOptions(app.folder, 7.0, {"synchronous": "normal"})
