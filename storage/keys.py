"""The key store: every user's data key, wrapped by the master key, in a database of its own.

Backups of the data never contain it, so an erased key stays erased. Knows nothing of what the keys encrypt.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable

from sqlalchemy import LargeBinary, String, delete, inspect, select
from sqlalchemy.exc import IntegrityError as RowExists
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from storage import clock, crypto
from storage.database import Database
from storage.errors import ConfigurationError, IntegrityError, KeyErased, WrongMasterKey

CACHE_SECONDS = 30.0  # how long an erased key may live on in another process
CACHE_KEYS = 1024
_SENTINEL = b"idiolect key store"


class KeyBase(DeclarativeBase):
    """Every table of the key store."""

    type_annotation_map = {str: String(255)}  # noqa: RUF012


class DataKey(KeyBase):
    """One user's data key, wrapped."""

    __tablename__ = "data_keys"
    user_id: Mapped[str] = mapped_column(primary_key=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[float]


class Sentinel(KeyBase):
    """One row that only the right master key opens."""

    __tablename__ = "sentinel"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


class KeyStore:
    """Makes, unwraps and erases data keys. Safe to share between threads."""

    def __init__(self, url: str, master_key: bytes) -> None:
        """url: of the key store's own database. master_key: 32 bytes."""
        self.database = Database(url)
        self._wrapping_key = crypto.derive(master_key, "data key wrapping")
        self._cached: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def check_master_key(self) -> None:
        """Prove that this master key is the one of this store; the first call on an empty store makes it so.

        Raises WrongMasterKey, and ConfigurationError when the store is not migrated.
        """
        if not self.is_migrated():
            raise ConfigurationError("the key store has no tables yet: run `python -m storage.schema upgrade`")
        with self.database.session() as session:
            if not self._matches(session):
                self._adopt(session)

    def is_migrated(self) -> bool:
        """Whether the tables are there."""
        return inspect(self.database.engine).has_table(Sentinel.__tablename__)

    def is_empty(self) -> bool:
        """Whether no user has a key here."""
        with self.database.reading() as session:
            return session.scalar(select(DataKey.user_id).limit(1)) is None

    def holds(self, user_id: str) -> bool:
        """Whether this user's key is here."""
        with self.database.reading() as session:
            return session.scalar(select(DataKey.user_id).where(DataKey.user_id == user_id)) is not None

    def owners(self) -> set[str]:
        """Everybody who has a key."""
        with self.database.reading() as session:
            return set(session.scalars(select(DataKey.user_id)))

    def create(self, user_id: str) -> None:
        """Make the user's data key."""
        self.create_all([user_id])

    def create_all(self, user_ids: Iterable[str]) -> None:
        """Make each one's data key: all of them, or none."""
        at = clock.now()
        keys = [DataKey(user_id=user_id, wrapped=self._new_key(user_id), created_at=at) for user_id in user_ids]
        with self.database.session() as session:
            session.add_all(keys)

    def data_key(self, user_id: str) -> bytes:
        """The user's 32 bytes. Raises KeyErased; an erasure in another process takes hold within 30 seconds."""
        with self._lock:
            until, key = self._cached.get(user_id, (0.0, b""))
        if until > time.monotonic():
            return key
        key = self._unwrap(user_id)
        with self._lock:
            self._cached[user_id] = (time.monotonic() + CACHE_SECONDS, key)
            self._cached.move_to_end(user_id)
            while len(self._cached) > CACHE_KEYS:
                self._cached.popitem(last=False)
        return key

    def erase(self, user_id: str) -> bool:
        """Destroy the user's data key for good: what it sealed can't be read any more. False when there was none."""
        with self._lock:
            self._cached.pop(user_id, None)
        with self.database.session() as session:
            erased = session.execute(delete(DataKey).where(DataKey.user_id == user_id).returning(DataKey.user_id)).all()
        self.database.scrub()
        with self._lock:  # a reader may have unwrapped it in between
            self._cached.pop(user_id, None)
        return bool(erased)

    def close(self) -> None:
        """Forget every key and close the connections."""
        with self._lock:
            self._cached.clear()
        self.database.dispose()

    def _new_key(self, user_id: str) -> bytes:
        return crypto.seal(self._wrapping_key, os.urandom(crypto.KEY_BYTES), "data key", user_id)

    def _unwrap(self, user_id: str) -> bytes:
        with self.database.reading() as session:
            wrapped = session.scalar(select(DataKey.wrapped).where(DataKey.user_id == user_id))
        if wrapped is None:
            raise KeyErased("this account's data key is gone, and with it everything it sealed")
        return crypto.unseal(self._wrapping_key, wrapped, "data key", user_id)

    def _matches(self, session: Session) -> bool:
        """True: opened. False: there is no sentinel yet."""
        sealed = session.scalar(select(Sentinel.sealed))
        if sealed is None:
            if session.scalar(select(DataKey.user_id).limit(1)) is not None:
                raise WrongMasterKey("the key store has keys but no sentinel row: restore it from its own backup")
            return False
        try:
            crypto.unseal(self._wrapping_key, sealed, "sentinel")
        except IntegrityError:
            raise WrongMasterKey(
                "the master key does not open this key store: set IDIOLECT_MASTER_KEY or IDIOLECT_MASTER_KEY_FILE "
                "to the key this installation was made with"
            ) from None
        return True

    def _adopt(self, session: Session) -> None:
        try:
            with session.begin_nested():
                session.add(Sentinel(id=1, sealed=crypto.seal(self._wrapping_key, _SENTINEL, "sentinel")))
        except RowExists:  # another process was first: its key decides
            self._matches(session)
