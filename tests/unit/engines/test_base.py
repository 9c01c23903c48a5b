import pytest

from celeriac.engines import DEFAULT_URL, open_broker, open_results
from celeriac.engines.base import EngineOptions
from celeriac.exceptions import ConfigError


@pytest.fixture
def options(tmp_path):
    return EngineOptions(str(tmp_path))


@pytest.mark.parametrize("url", [":memory:", "memory://", "sqlite://:memory:"])
def test_memory_has_several_spellings(url, options):
    broker = open_broker(url, options)
    assert broker.describe() == ":memory:"
    broker.close()


def test_the_default_is_a_file_in_the_projects_folder(tmp_path, options, monkeypatch):
    monkeypatch.delenv("CELERIAC_HOME", raising=False)
    assert open_broker(DEFAULT_URL, options).describe() == f"sqlite:///{tmp_path}/.celeriac/celeriac.db"


def test_results_are_opened_by_url_too(tmp_path, options):
    assert open_results("sqlite:///r.db", options).describe() == f"sqlite:///{tmp_path}/r.db"


def test_an_engines_options_reach_it(tmp_path):
    with pytest.raises(ConfigError, match="no option cache_size"):
        open_broker("sqlite://", EngineOptions(str(tmp_path), options={"cache_size": 5}))
