"""An administrator and two writers at the console of a real web role. Its API role and its queue answer nobody."""

import pytest
from flask import Flask

from app.config import AppConfig
from app.web.factory import create_app
from storage.store import Storage
from tests.app.web.browser import Person, join


@pytest.fixture
def app(storage: Storage) -> Flask:
    return create_app(AppConfig(api_url="http://127.0.0.1:1"), storage)


@pytest.fixture
def chief(app: Flask, storage: Storage) -> Person:
    """The administrator."""
    return join(app, storage, "chief@example.org", role="admin")


@pytest.fixture
def ada(app: Flask, storage: Storage) -> Person:
    return join(app, storage, "ada@example.org")


@pytest.fixture
def bob(app: Flask, storage: Storage) -> Person:
    return join(app, storage, "bob@example.org")
