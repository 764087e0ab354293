"""A person at the web role, without a browser: Flask's test client that fills in the form token as a page would."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from storage import samples, tuning_runs, users, voices, web_sessions
from storage.models import TuningRun, User, Voice
from storage.passwords import HASHER
from storage.store import Storage

TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
PASSWORD = "plum jam on toast"
TEXT = "On moving house, one learns how many spoons one owns. We had eleven, and none of them matched the others. "


class OneHash(PasswordHasher):
    """The platform's hasher, which hashes the one password of these tests only once."""

    known: ClassVar[dict[str | bytes, str]] = {}

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        if password not in self.known:
            self.known[password] = HASHER.hash(password)
        return self.known[password]


@dataclass
class Browser:
    """One cookie jar. `post` sends the token that a page of this session holds."""

    app: Flask
    client: FlaskClient

    @classmethod
    def of(cls, app: Flask) -> "Browser":
        return cls(app, app.test_client())

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        return self.client.get(path, buffered=True, **kwargs)

    def token(self) -> str:
        pages = (self.client.get(path) for path in ("/account", "/signin", "/guest/keep"))
        page = next(page for page in pages if page.status_code == 200)
        found = TOKEN.search(page.text)
        assert found, "no form on the page"
        return found.group(1)

    def post(self, path: str, data: dict[str, Any] | None = None, **kwargs: Any) -> TestResponse:
        return self.client.post(path, data={"csrf_token": self.token(), **(data or {})}, buffered=True, **kwargs)


@dataclass
class Person:
    """Somebody signed in, with their first voice."""

    storage: Storage
    browser: Browser
    user: User
    voice: Voice

    @property
    def url(self) -> str:
        return f"/voices/{self.voice.id}"

    def add(self, count: int = 3, text: str = TEXT) -> None:
        """Give that many different samples, long enough to train on."""
        given = {"user_id": self.user.id, "voice_id": self.voice.id}
        with self.storage.database.session() as session:
            for number in range(count):
                samples.add_sample(session, self.storage.keys, text=f"Piece {number}. " + text * 6, **given)

    def num_samples(self) -> int:
        with self.storage.database.session() as session:
            return samples.readiness(session, self.user.id, self.voice.id).num_samples

    def sample_ids(self, session: Session) -> list[str]:
        kept = samples.list_samples(session, self.storage.keys, self.user.id, self.voice.id)
        return [sample.id for sample in kept]

    def newest_run_id(self, session: Session) -> str:
        return tuning_runs.list_runs(session, self.user.id, self.voice.id, limit=1)[0].id

    def run(self) -> TuningRun:
        """Ask for a training without the queue."""
        with self.storage.database.session() as session:
            return tuning_runs.request_run(session, user_id=self.user.id, voice_id=self.voice.id)[0]


def join(app: Flask, storage: Storage, email: str, role: Any = "writer") -> Person:
    """A new account with a session of its own (its password is hashed, once)."""
    with storage.database.session() as session:
        user = users.sign_up(session, storage.keys, email=email, password=PASSWORD, role=role, hasher=OneHash())
    with storage.database.session() as session:
        token = web_sessions.start(session, user.id)
        voice = voices.list_voices(session, user.id)[0]
    browser = Browser.of(app)
    browser.client.set_cookie("idiolect_session", token)
    return Person(storage, browser, user, voice)
