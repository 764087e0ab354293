"""Everything that keeps data, opened together: the database, the key store and the cache."""

from dataclasses import dataclass
from typing import Self

from sqlalchemy import select

from storage import quotas
from storage.config import StorageConfig
from storage.database import Database
from storage.errors import ConfigurationError, StorageError
from storage.keys import KeyStore
from storage.models import User
from storage.redis_cache import RedisCache


@dataclass(frozen=True)
class Storage:
    """Open one in each process, after forking. Threads may share it."""

    database: Database
    keys: KeyStore
    cache: RedisCache
    config: StorageConfig

    @classmethod
    def open(cls, config: StorageConfig) -> Self:
        """Open migrated storage. Raises WrongMasterKey, and ConfigurationError when the data has lost its keys."""
        storage = cls(
            database=Database(config.database_url, info={quotas.INFO: quotas.Quotas.of_config(config)}),
            keys=KeyStore(config.key_store_url, config.master_key),
            cache=RedisCache(config.cache_url),
            config=config,
        )
        try:
            storage._require_keys()
        except StorageError:
            storage.close()
            raise
        return storage

    def close(self) -> None:
        """Close every connection."""
        self.database.dispose()
        self.keys.close()
        self.cache.close()

    def _require_keys(self) -> None:
        self.keys.check_master_key()
        with self.database.reading() as session:
            someone = session.scalar(select(User.id).limit(1))
        if someone is not None and self.keys.is_empty():
            raise ConfigurationError(
                "the database has accounts but the key store has no keys: IDIOLECT_KEY_STORE_URL must name the key "
                "store this data was written with"
            )
