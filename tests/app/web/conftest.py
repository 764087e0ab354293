"""A web role on a real, freshly migrated database (the `storage` of tests/conftest.py). Nobody answers as its API,
unless a test asks for the small server that does."""

from collections.abc import Iterator

import pytest
from flask import Flask

from app.config import AppConfig
from app.web.factory import create_app
from storage.store import Storage
from tests.app.web.browser import Browser, Person, join
from tests.app.web.upstream import Upstream, serve

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def app(storage: Storage) -> Flask:
    app = create_app(AppConfig(api_url=NOBODY), storage)
    app.config["RUN_POLL_S"] = 0.02
    return app


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serve() as running:
        yield running


@pytest.fixture
def browser(app: Flask) -> Browser:
    """A stranger."""
    return Browser.of(app)


@pytest.fixture
def ada(app: Flask, storage: Storage) -> Person:
    return join(app, storage, "ada@example.org")


@pytest.fixture
def bob(app: Flask, storage: Storage) -> Person:
    return join(app, storage, "bob@example.org")
