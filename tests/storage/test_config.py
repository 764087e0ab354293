"""The configuration refuses what could not work, and names the variable to mend."""

from pathlib import Path

import pytest

from storage.config import StorageConfig
from storage.errors import ConfigurationError

GOOD = {
    "IDIOLECT_DATABASE_URL": "sqlite:////tmp/data.db",
    "IDIOLECT_KEY_STORE_URL": "sqlite:////tmp/keys.db",
    "IDIOLECT_CACHE_URL": "unix:///tmp/cache.sock",
    "IDIOLECT_MASTER_KEY": "ab" * 32,
}


def test_everything_is_read_from_the_environment() -> None:
    config = StorageConfig.from_env({**GOOD, "IDIOLECT_CACHE_TTL_S": "60", "IDIOLECT_QUOTA_SAMPLES": "7"})
    assert config == StorageConfig(
        database_url=GOOD["IDIOLECT_DATABASE_URL"],
        key_store_url=GOOD["IDIOLECT_KEY_STORE_URL"],
        cache_url=GOOD["IDIOLECT_CACHE_URL"],
        master_key=bytes.fromhex("ab" * 32),
        cache_ttl_s=60,
        quota_samples=7,
    )


def test_the_master_key_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("cd" * 32 + "\n", encoding="ascii")
    env = {**GOOD, "IDIOLECT_MASTER_KEY": "", "IDIOLECT_MASTER_KEY_FILE": str(tmp_path / "key")}
    assert StorageConfig.from_env(env).master_key == bytes.fromhex("cd" * 32)


def test_the_master_key_is_not_shown() -> None:
    assert "ab" * 4 not in repr(StorageConfig.from_env(GOOD))
    assert repr(bytes.fromhex("ab" * 32)) not in repr(StorageConfig.from_env(GOOD))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"IDIOLECT_DATABASE_URL": ""}, "IDIOLECT_DATABASE_URL"),
        ({"IDIOLECT_KEY_STORE_URL": ""}, "IDIOLECT_KEY_STORE_URL"),
        ({"IDIOLECT_KEY_STORE_URL": GOOD["IDIOLECT_DATABASE_URL"]}, "IDIOLECT_KEY_STORE_URL"),
        ({"IDIOLECT_CACHE_URL": ""}, "IDIOLECT_CACHE_URL"),
        ({"IDIOLECT_MASTER_KEY": ""}, "IDIOLECT_MASTER_KEY"),
        ({"IDIOLECT_MASTER_KEY": "abc"}, "64 hex digits"),
        ({"IDIOLECT_MASTER_KEY": "ab" * 31}, "64 hex digits"),
        ({"IDIOLECT_MASTER_KEY": "", "IDIOLECT_MASTER_KEY_FILE": "/nowhere/key"}, "/nowhere/key"),
        ({"IDIOLECT_CACHE_TTL_S": "soon"}, "IDIOLECT_CACHE_TTL_S"),
        ({"IDIOLECT_CACHE_TTL_S": "0"}, "IDIOLECT_CACHE_TTL_S"),
        ({"IDIOLECT_QUOTA_RUNS": "-1"}, "IDIOLECT_QUOTA_RUNS"),
        ({"IDIOLECT_QUOTA_STORED_MB": "lots"}, "IDIOLECT_QUOTA_STORED_MB"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        StorageConfig.from_env({**GOOD, **change})
