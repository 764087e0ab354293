"""Published prefixes: into the database, out to the cache, and back for whoever owns the voice.

The bytes are opaque here. They are sealed with their owner, voice, version and base fingerprint as associated data,
the same in the database and in Redis, so that an entry in the wrong place does not open. Whoever keeps opened ones in
memory asks `locate` before each use.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from storage import audit, clock, crypto, run_claims
from storage.errors import CacheUnavailable, IntegrityError, NoPublishedVersion, NotFound, RunCancelled, RunPaused
from storage.ids import new_id
from storage.models import PrefixVersion, User, Voice
from storage.run_claims import Claim
from storage.store import Storage

log = logging.getLogger(__name__)
Source = Literal["cache", "database"]
_BATCH = 500  # names in one statement


@dataclass(frozen=True)
class LoadedPrefix:
    """A voice's prefix in clear, and whose it is."""

    data: bytes
    user_id: str
    voice_id: str
    version: int
    base_fingerprint: str
    source: Source


@dataclass(frozen=True)
class PrefixAddress:
    """Which prefix: the cache key's parts, and the associated data's. No two prefixes ever have the same one."""

    user_id: str
    voice_id: str
    version: int
    base_fingerprint: str

    @property
    def parts(self) -> tuple[str, ...]:
        return ("prefix", self.user_id, self.voice_id, str(self.version), self.base_fingerprint)

    @property
    def cache_key(self) -> str:
        return ":".join(self.parts)


def publish_prefix(
    storage: Storage,
    held: Claim,
    *,
    data: bytes,
    base_fingerprint: str,
    num_virtual_tokens: int,
    figures: dict[str, Any],
    trained_sample_ids: Sequence[str] | None = None,
) -> PrefixVersion:
    """Publish what the run trained: version, the voice's pointer, the run's end and its event, in one transaction.

    Raises LostLease (also at a second call: a run publishes once), RunCancelled (the run has then been ended as
    cancelled), RunPaused (put aside), KeyErased. Redis is filled after the commit, and may fail.
    """
    key = storage.keys.data_key(held.user_id)
    try:
        with storage.database.session() as session:
            run_claims.finish_published(session, held, figures)
            number = _next_version(session, held.voice_id)
            address = PrefixAddress(held.user_id, held.voice_id, number, base_fingerprint)
            sealed = crypto.seal(key, data, *address.parts)
            version = _add_version(session, held, address, sealed, len(data), num_virtual_tokens, figures)
            version.trained_sample_ids = None if trained_sample_ids is None else list(trained_sample_ids)
    except (RunCancelled, RunPaused):
        with storage.database.session() as session:
            run_claims.stop(session, held)
        raise
    _put(storage, address, sealed)
    return version


def load_prefix(storage: Storage, user_id: str, voice_id: str, version: int | None = None) -> LoadedPrefix:
    """A version of the person's voice, the one in use unless told otherwise, from Redis or else the database.

    Raises NotFound (unknown, another's), NoPublishedVersion, KeyErased, IntegrityError (the database's own bytes are
    not what they should be).
    """
    return read(storage, locate(storage, user_id, voice_id, version))


def locate(storage: Storage, user_id: str, voice_id: str, version: int | None = None) -> PrefixAddress:
    """Which prefix the person's voice speaks with now, unless a version is named: asked of the database every time, so
    that a version that was replaced, switched off or erased is used by nobody from then on, wherever it is held.

    Raises NotFound, NoPublishedVersion, KeyErased.
    """
    with storage.database.reading() as session:
        found = session.execute(
            select(PrefixVersion.version, PrefixVersion.base_fingerprint)
            .select_from(Voice)
            .outerjoin(
                PrefixVersion,
                (PrefixVersion.voice_id == Voice.id)
                & (PrefixVersion.user_id == Voice.user_id)
                & (PrefixVersion.version == (Voice.active_version if version is None else version)),
            )
            .where(Voice.id == voice_id, Voice.user_id == user_id)
        ).one_or_none()
    if found is None:
        raise NotFound("no such voice")
    if found.version is None and version is not None:
        raise NotFound("no such version")
    if found.version is None:
        raise NoPublishedVersion("This voice has no version in use: train it, or choose one of its versions.")
    storage.keys.data_key(user_id)
    return PrefixAddress(user_id, voice_id, found.version, found.base_fingerprint)


def read(storage: Storage, address: PrefixAddress) -> LoadedPrefix:
    """The prefix of an address that `locate` gave, from Redis or else the database. Raises NotFound (deleted since),
    KeyErased, IntegrityError."""
    key = storage.keys.data_key(address.user_id)
    data = _from_cache(storage, address, key)
    source: Source = "cache"
    if data is None:
        source = "database"
        data = _from_database(storage, address, key)
    return LoadedPrefix(data, address.user_id, address.voice_id, address.version, address.base_fingerprint, source)


def read_stored(storage: Storage, address: PrefixAddress) -> bytes:
    """The bytes of an address from the database, past the cache. Raises NotFound, KeyErased, IntegrityError."""
    sealed = _sealed(storage, address)
    if sealed is None:
        raise NotFound("no such version")
    return crypto.unseal(storage.keys.data_key(address.user_id), sealed, *address.parts)


def in_use(storage: Storage, addresses: Iterable[PrefixAddress]) -> set[PrefixAddress]:
    """Those of them that a voice of an active person speaks with now: all others may be forgotten."""
    wanted = set(addresses)
    voice_ids = sorted({address.voice_id for address in wanted})
    found: set[PrefixAddress] = set()
    for start in range(0, len(voice_ids), _BATCH):
        with storage.database.reading() as session:
            found |= _active(session, Voice.id.in_(voice_ids[start : start + _BATCH]))
    return wanted & found


def warm_cache(storage: Storage, user_id: str) -> None:
    """Bring the prefixes that the person's voices speak with into Redis, sealed as they are, ahead of the first request
    for one; those that are there begin their time to live again. With Redis away it does nothing."""
    with storage.database.reading() as session:
        addresses = _active(session, Voice.user_id == user_id)
    try:
        for address in addresses:
            if storage.cache.renew(address.cache_key, storage.config.cache_ttl_s):
                continue
            sealed = _sealed(storage, address)
            if sealed is not None:
                storage.cache.put(address.cache_key, sealed, storage.config.cache_ttl_s)
                storage.cache.count("warmed")
    except CacheUnavailable:
        log.warning("the cache is away: prefixes were not brought there ahead, the database serves them")


def wipe_cached(storage: Storage, user_id: str, voice_id: str | None = None) -> None:
    """Remove a voice's cached prefixes, or all of a person's. With Redis away they end with their time to live; no
    request reads them, since each asks the database for the version first."""
    prefix = f"prefix:{user_id}:" if voice_id is None else f"prefix:{user_id}:{voice_id}:"
    try:
        storage.cache.delete_matching(prefix)
    except CacheUnavailable:
        log.warning("the cache is away: sealed prefixes of a deleted voice or account stay until they expire")


def evict_cached(storage: Storage, actor_id: str, user_id: str | None = None) -> int:
    """Empty the cache of a person's prefixes, or of everybody's, for an administrator: how many there were. They come
    back from the database as they are asked for. Raises CacheUnavailable."""
    gone = storage.cache.delete_matching("prefix:" if user_id is None else f"prefix:{user_id}:")
    with storage.database.session() as session:
        audit.record(session, "cache.evicted", actor_id=actor_id, subject_id=user_id, entries=gone)
    return gone


def _active(session: Session, *where: ColumnElement[bool]) -> set[PrefixAddress]:
    """What the voices of active people speak with now."""
    rows = session.execute(
        select(Voice.user_id, Voice.id, PrefixVersion.version, PrefixVersion.base_fingerprint)
        .join(User, User.id == Voice.user_id)
        .join(
            PrefixVersion,
            (PrefixVersion.voice_id == Voice.id)
            & (PrefixVersion.user_id == Voice.user_id)
            & (PrefixVersion.version == Voice.active_version),
        )
        .where(User.state == "active", *where)
    )
    return {PrefixAddress(*row) for row in rows}


def _from_cache(storage: Storage, address: PrefixAddress, key: bytes) -> bytes | None:
    try:
        sealed = storage.cache.get(address.cache_key)
        storage.cache.count("misses" if sealed is None else "hits")
    except CacheUnavailable:
        return None
    if sealed is None:
        return None
    try:
        return crypto.unseal(key, sealed, *address.parts)
    except IntegrityError:
        log.error("a cached prefix did not open and was removed: %s version %d", address.voice_id, address.version)
        _forget(storage, address)
        return None


def _from_database(storage: Storage, address: PrefixAddress, key: bytes) -> bytes:
    sealed = _sealed(storage, address)
    if sealed is None:
        raise NotFound("no such voice")  # deleted since the pointer was read
    data = crypto.unseal(key, sealed, *address.parts)
    _put(storage, address, sealed)
    return data


def _sealed(storage: Storage, address: PrefixAddress) -> bytes | None:
    with storage.database.reading() as session:
        return session.scalar(
            select(PrefixVersion.sealed).where(
                PrefixVersion.voice_id == address.voice_id,
                PrefixVersion.user_id == address.user_id,
                PrefixVersion.version == address.version,
            )
        )


def _put(storage: Storage, address: PrefixAddress, sealed: bytes) -> None:
    try:
        storage.cache.put(address.cache_key, sealed, storage.config.cache_ttl_s)
    except CacheUnavailable:
        log.warning("the cache is away: a prefix was not put there, the database serves it")


def _forget(storage: Storage, address: PrefixAddress) -> None:
    try:
        storage.cache.delete(address.cache_key)
    except CacheUnavailable:
        log.warning("the cache is away: a bad entry could not be removed, and is refused at each reading")


def _next_version(session: Session, voice_id: str) -> int:
    newest = select(func.max(PrefixVersion.version)).where(PrefixVersion.voice_id == voice_id)
    return 1 + (session.scalar(newest) or 0)


def _add_version(
    session: Session,
    held: Claim,
    address: PrefixAddress,
    sealed: bytes,
    num_bytes: int,
    num_virtual_tokens: int,
    figures: dict[str, Any],
) -> PrefixVersion:
    version = PrefixVersion(
        id=new_id("prefix"),
        user_id=address.user_id,
        voice_id=address.voice_id,
        run_id=held.run_id,
        version=address.version,
        base_fingerprint=address.base_fingerprint,
        num_virtual_tokens=num_virtual_tokens,
        num_bytes=num_bytes,
        sealed=sealed,
        figures=run_claims.finite(figures),
        created_at=clock.now(),
    )
    session.add(version)
    session.execute(update(Voice).where(Voice.id == address.voice_id).values(active_version=address.version))
    audit.record(session, "voice.version_published", subject_id=address.voice_id, version=address.version)
    return version
