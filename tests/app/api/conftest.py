"""A real API server with a tiny model, a real database and a real Redis-protocol server, shared by this folder's tests:
each test brings its own people, whom nothing of the others' reaches."""

from collections.abc import Callable, Iterator

import openai
import pytest

from app.api.factory import create_app
from app.api.services import EXTENSION
from app.config import AppConfig
from app.generation.engine import Engine
from storage.config import StorageConfig
from storage.schema import upgrade
from storage.store import Storage
from tests.app.api.people import Api, Person, join
from tests.app.api.server_thread import served
from tests.conftest import sqlite_config
from tests.servers import Valkey, ValkeyServer, short_folder, start_valkey
from tests.tiny_model import make_tiny
from tuning.base_model import BaseModel


@pytest.fixture
def own_valkey() -> Iterator[ValkeyServer]:
    """A Redis-protocol server to be killed or frozen."""
    with short_folder() as folder:
        server = start_valkey(folder / "own.sock")
        yield server
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="session")
def api_config(tmp_path_factory: pytest.TempPathFactory, valkey: Valkey, master_key: bytes) -> StorageConfig:
    """A migrated database and key store, and a cache."""
    config = sqlite_config(tmp_path_factory.mktemp("api"), valkey.cache_url, master_key)
    upgrade(config)
    return config


@pytest.fixture(scope="session")
def api_storage(api_config: StorageConfig) -> Iterator[Storage]:
    storage = Storage.open(api_config)
    yield storage
    storage.close()


@pytest.fixture(scope="session")
def base() -> BaseModel:
    return make_tiny("llama")


@pytest.fixture(scope="session")
def engine(base: BaseModel) -> Iterator[Engine]:
    engine = Engine(base, max_num_seqs=8, max_waiting=32)
    engine.start()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def api(api_storage: Storage, base: BaseModel, engine: Engine) -> Iterator[Api]:
    """The API on a port of its own; limits are counted in the same Redis as the cache."""
    config = AppConfig(rate_limit_url=api_storage.config.cache_url, max_body_bytes=1 << 20)
    app = create_app(config, api_storage, base, engine)
    with served(app) as url:
        yield Api(url, app, api_storage, base, engine)
    app.extensions[EXTENSION].meter.flush()


@pytest.fixture
def api_with(api_storage: Storage, base: BaseModel, engine: Engine) -> Callable[[AppConfig], Api]:
    """An app with other settings on the same data, without a socket."""

    def make(config: AppConfig) -> Api:
        return Api("", create_app(config, api_storage, base, engine), api_storage, base, engine)

    return make


@pytest.fixture
def api_on(base: BaseModel, engine: Engine) -> Iterator[Callable[[StorageConfig], Api]]:
    """An app with connections of its own, as another API process has."""
    opened: list[Storage] = []

    def make(config: StorageConfig) -> Api:
        opened.append(Storage.open(config))
        return Api("", create_app(AppConfig(), opened[-1], base, engine), opened[-1], base, engine)

    yield make
    for storage in opened:
        storage.close()


@pytest.fixture
def ann(api: Api) -> Person:
    return join(api.storage)


@pytest.fixture
def ben(api: Api) -> Person:
    return join(api.storage)


@pytest.fixture
def client_of(api: Api) -> Iterator[Callable[[str], openai.OpenAI]]:
    """Makes an official client for a key; it retries nothing, so that a test sees the first answer."""
    made: list[openai.OpenAI] = []

    def make(key: str) -> openai.OpenAI:
        made.append(openai.OpenAI(base_url=f"{api.url}/v1", api_key=key, max_retries=0))
        return made[-1]

    yield make
    for client in made:
        client.close()
