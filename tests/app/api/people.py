"""People of the API's tests: an account, its first voice and a key; and a published version made without training."""

from dataclasses import dataclass, replace
from typing import Any

from apiflask import APIFlask
from flask.testing import FlaskClient

from app.api.services import EXTENSION, Services
from app.generation.engine import Engine
from storage import api_keys, reports, voices
from storage.models import User, Voice
from storage.store import Storage
from tests import factories
from tests.tiny_model import make_prefix
from tuning.base_model import BaseModel
from tuning.prefix import Prefix


@dataclass(frozen=True)
class Person:
    """Someone with an account."""

    user: User
    voice: Voice
    key: str

    @property
    def user_id(self) -> str:
        return self.user.id

    @property
    def voice_id(self) -> str:
        return self.voice.id

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@dataclass(frozen=True)
class Api:
    """The server under test and the parts it was made of."""

    url: str
    app: APIFlask
    storage: Storage
    base: BaseModel
    engine: Engine

    @property
    def services(self) -> Services:
        """What its views work with."""
        services: Services = self.app.extensions[EXTENSION]
        return services

    def forget_prefixes(self) -> None:
        """Let go of what this process holds opened."""
        self.services.prefixes.forget(self.services.prefixes.addresses())

    def client(self) -> FlaskClient:
        """Requests without a socket."""
        return self.app.test_client()

    def call(self, person: Person, method: str, path: str, **options: Any) -> Any:
        """One request as `person`, without a socket."""
        return self.client().open(path, method=method, headers=person.headers, **options)

    def complete(self, person: Person, model: str, prompt: str = "My day", **fields: Any) -> Any:
        """A greedy completion, without a socket."""
        body = {"model": model, "prompt": prompt, "temperature": 0, **fields}
        return self.call(person, "POST", "/v1/completions", json=body)


def join(storage: Storage) -> Person:
    """Sign up and make a key."""
    user = factories.make_user(storage)
    voice = factories.first_voice(storage, user)
    return with_key(storage, Person(user, voice, ""), *api_keys.SCOPES)


def with_key(storage: Storage, person: Person, *scopes: str) -> Person:
    """The same person with another key, which may do just this."""
    with storage.database.session() as session:
        _, secret = api_keys.create_key(session, person.user_id, "tests", scopes)
    return replace(person, key=secret)


def write_samples(storage: Storage, person: Person) -> None:
    """Enough text to ask for a training."""
    factories.add_samples(storage, person.user, person.voice)


def publish(storage: Storage, person: Person, prefix: Prefix) -> int:
    """Publish `prefix` as the next version of the person's voice, through a whole run; returns the version."""
    data, fingerprint = prefix.to_bytes(), prefix.base_fingerprint
    return factories.publish(storage, person.user, person.voice, data, fingerprint).version


def add_report(storage: Storage, person: Person, version: int, report: dict[str, Any]) -> None:
    """What a worker measures of a version that has been published."""
    with storage.database.session() as session:
        run_id = voices.get_version(session, person.user_id, person.voice_id, version).run_id
        reports.add_report(session, storage.keys, person.user_id, run_id, report)


def publish_random(api: Api, person: Person, seed: int = 0) -> Prefix:
    """Publish a random prefix, strong enough to change what the tiny model says; returns it as it was stored."""
    prefix = make_prefix(api.base, seed=seed)
    publish(api.storage, person, prefix)
    return Prefix.from_bytes(prefix.to_bytes(), api.base.fingerprint, dtype=api.base.dtype)
