"""The storage package's one configuration object. Nothing else in `storage` reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from storage.errors import ConfigurationError

MASTER_KEY_BYTES = 32
_QUOTAS = ("quota_voices", "quota_samples", "quota_stored_mb", "quota_runs", "quota_tokens_per_day")


@dataclass(frozen=True)
class StorageConfig:
    """Where the data lives.

    database_url: SQLAlchemy URL of the data (IDIOLECT_DATABASE_URL).
    key_store_url: SQLAlchemy URL of the wrapped per-user keys; never the same database, and never part of a
        backup of the data (IDIOLECT_KEY_STORE_URL).
    cache_url: redis:// or unix:// URL of the prefix cache (IDIOLECT_CACHE_URL).
    master_key: 32 bytes that wrap every user's data key (IDIOLECT_MASTER_KEY as hex, or
        IDIOLECT_MASTER_KEY_FILE, a file that holds the hex).
    cache_ttl_s: seconds a cached prefix stays (IDIOLECT_CACHE_TTL_S).
    quota_voices: voices that one account may have (IDIOLECT_QUOTA_VOICES). For this and the next four: 0 is no bound,
        and an owner sets other numbers for a person (storage.quotas).
    quota_samples: samples in all its voices (IDIOLECT_QUOTA_SAMPLES).
    quota_stored_mb: millions of characters of samples and bytes of files (IDIOLECT_QUOTA_STORED_MB).
    quota_runs: trainings that wait, are paused or under way (IDIOLECT_QUOTA_RUNS).
    quota_tokens_per_day: tokens read and written in a day, UTC (IDIOLECT_QUOTA_TOKENS_PER_DAY).
    """

    database_url: str
    key_store_url: str
    cache_url: str
    master_key: bytes = field(repr=False)
    cache_ttl_s: int = 3600
    quota_voices: int = 20
    quota_samples: int = 5000
    quota_stored_mb: int = 200
    quota_runs: int = 10
    quota_tokens_per_day: int = 0

    def __post_init__(self) -> None:
        if len(self.master_key) != MASTER_KEY_BYTES:
            raise ConfigurationError("the master key must be 32 bytes (64 hex digits)")
        if self.database_url == self.key_store_url:
            raise ConfigurationError("IDIOLECT_KEY_STORE_URL must name another database than IDIOLECT_DATABASE_URL")
        if self.cache_ttl_s < 1:
            raise ConfigurationError("IDIOLECT_CACHE_TTL_S must be at least 1 second")
        for name in _QUOTAS:
            if getattr(self, name) < 0:
                raise ConfigurationError(f"IDIOLECT_{name.upper()} must be 0 (no bound) or more")

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Read the environment. Raises ConfigurationError with the variable to mend."""
        return cls(
            database_url=_required(env, "IDIOLECT_DATABASE_URL"),
            key_store_url=_required(env, "IDIOLECT_KEY_STORE_URL"),
            cache_url=_required(env, "IDIOLECT_CACHE_URL"),
            master_key=_master_key(env),
            cache_ttl_s=_whole(env, "IDIOLECT_CACHE_TTL_S", cls.cache_ttl_s),
            **{name: _whole(env, f"IDIOLECT_{name.upper()}", getattr(cls, name)) for name in _QUOTAS},
        )


def _whole(env: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(env.get(name, "") or default)
    except ValueError as wrong:
        raise ConfigurationError(f"{name} must be a whole number") from wrong


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise ConfigurationError(f"{name} is not set; `make run` sets it for the embedded default")
    return value


def _master_key(env: Mapping[str, str]) -> bytes:
    digits = env.get("IDIOLECT_MASTER_KEY", "")
    if not digits and (path := env.get("IDIOLECT_MASTER_KEY_FILE", "")):
        try:
            digits = Path(path).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as wrong:
            raise ConfigurationError(f"the master key file {path} cannot be read") from wrong
    if not digits:
        raise ConfigurationError("set IDIOLECT_MASTER_KEY or IDIOLECT_MASTER_KEY_FILE")
    try:
        return bytes.fromhex(digits.strip())
    except ValueError as wrong:
        raise ConfigurationError("the master key must be 64 hex digits") from wrong
