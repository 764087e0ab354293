"""What the supervisor asks the databases: are they at this release, is there an administrator, has the worker come up.

The only part of the supervisor that reads data; it writes nothing but the schema.
"""

from collections.abc import Mapping
from typing import Self

from storage import crypto, schema, users, workers
from storage.clock import now
from storage.config import StorageConfig
from storage.store import Storage


class StoredState:
    """The platform's storage as the supervisor sees it. Close it when the platform stops."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._opened_at = now()

    @classmethod
    def prepare(cls, environment: Mapping[str, str]) -> Self:
        """Bring both databases to this release and open them.

        Raises ConfigurationError or WrongMasterKey; then nothing has been touched.
        """
        config = StorageConfig.from_env(environment)
        schema.upgrade(config)
        return cls(Storage.open(config))

    def sign_in_advice(self, url: str) -> str:
        """Where to create the first administrator while there is none, else where to sign in."""
        with self._storage.database.session() as session:
            if users.has_admin(session):
                return f"sign in at {url}/signin"
        token = crypto.derive(self._storage.config.master_key, "first administrator").hex()
        return f"create the first administrator at {url}/setup?token={token}"

    def a_worker_has_reported(self) -> bool:
        """True once a worker has given a sign of life since this was opened."""
        with self._storage.database.session() as session:
            return any(worker.last_seen_at >= self._opened_at for worker in workers.list_workers(session))

    def close(self) -> None:
        """Let go of the databases."""
        self._storage.close()
