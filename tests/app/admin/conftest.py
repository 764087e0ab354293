"""Administrators of each kind and two writers at the console of a real web role. Its API role and its queue answer
nobody."""

import pytest
from flask import Flask

from app.config import AppConfig
from app.web.factory import create_app
from storage import users
from storage.models import ConsoleRole
from storage.store import Storage
from tests.app.web.browser import Person, join


@pytest.fixture
def app(storage: Storage) -> Flask:
    return create_app(AppConfig(api_url="http://127.0.0.1:1"), storage)


@pytest.fixture
def chief(app: Flask, storage: Storage) -> Person:
    """The owner."""
    return join(app, storage, "chief@example.org", role="admin")


@pytest.fixture
def operator(app: Flask, storage: Storage, chief: Person) -> Person:
    return administrator(app, storage, "operator")


@pytest.fixture
def auditor(app: Flask, storage: Storage, chief: Person) -> Person:
    return administrator(app, storage, "auditor")


@pytest.fixture
def ada(app: Flask, storage: Storage) -> Person:
    return join(app, storage, "ada@example.org")


@pytest.fixture
def bob(app: Flask, storage: Storage) -> Person:
    return join(app, storage, "bob@example.org")


def administrator(app: Flask, storage: Storage, role: ConsoleRole) -> Person:
    """Somebody with this role."""
    person = join(app, storage, f"{role}@example.org")
    with storage.database.session() as session:
        person.user = users.set_console_role(session, person.user.id, role)
    return person
