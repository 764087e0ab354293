"""A web role with a small server in its API's place, and people with and without a version."""

import pytest
from flask import Flask

from app.config import AppConfig
from app.web.factory import create_app
from storage.store import Storage
from tests.app.web.browser import Person, join
from tests.app.web.training import publish
from tests.app.web.upstream import Upstream
from tests.app.web.write.wishes import register


@pytest.fixture
def web(storage: Storage, upstream: Upstream) -> Flask:
    register(storage)
    return create_app(AppConfig(api_url=upstream.url), storage)


@pytest.fixture
def writer(web: Flask, storage: Storage) -> Person:
    """With nothing published yet."""
    return join(web, storage, "writer@example.org")


@pytest.fixture
def old_hand(writer: Person) -> Person:
    """With two versions, the second in use."""
    for _ in range(2):
        publish(writer)
    return writer
