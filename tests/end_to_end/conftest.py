"""What browser tests share: a browser; a web role on a real database, with a small server in the API's place, and
somebody with an account there; and the whole platform, every role, queue and cache as `make run` starts them, with a
tiny model."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser

from app.config import AppConfig
from app.embedded.config import EmbeddedConfig
from app.embedded.supervisor import Supervisor
from app.web.factory import create_app
from storage.store import Storage
from tests.app.web.browser import Person, join
from tests.app.web.serving import listening
from tests.app.web.upstream import Upstream, serve
from tests.end_to_end.browsing import launched
from tests.factories import register_base_model
from tests.tiny_model import save_tiny


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serve() as running:
        yield running


@pytest.fixture
def app(storage: Storage, upstream: Upstream) -> Flask:
    register_base_model(storage)
    app = create_app(AppConfig(api_url=upstream.url), storage)
    app.config["RUN_POLL_S"] = 0.05
    return app


@pytest.fixture
def ada(app: Flask, storage: Storage) -> Person:
    return join(app, storage, "ada@example.org")


@pytest.fixture
def url(app: Flask) -> Iterator[str]:
    with listening(app) as url:
        yield url


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[str]:
    """The whole platform's address, on free ports."""
    model = save_tiny("llama", tmp_path / "tiny")
    settings = {"IDIOLECT_BASE_MODEL": str(model), "IDIOLECT_MAX_STEPS": "60", "IDIOLECT_NUM_THREADS": "1"}
    environment = EmbeddedConfig.from_env().environment
    config = EmbeddedConfig(data_dir=tmp_path / "data", port=0, environment={**environment, **settings})
    with Supervisor(config, print) as running:
        running.start()
        yield running.url
