"""Both histories on both databases: forwards, backwards, and equal to the models."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError as RowExists

from storage import schema
from storage.config import StorageConfig
from storage.database import Database
from storage.errors import ConfigurationError
from storage.models import LIVE_STATES, User
from storage.schema import DATA, KEYS, History
from storage.store import Storage
from tests import factories

ROOT = Path(schema.__file__).resolve().parent.parent


@contextmanager
def opened(config: StorageConfig, history: History) -> Iterator[Database]:
    """The history's database, for migrating."""
    url = config.database_url if history is DATA else config.key_store_url
    database = Database(url, foreign_keys=False)
    yield database
    database.dispose()


def drift(history: History, database: Database) -> list[object]:
    """What the database lacks or has beyond the models."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": history.version_table})
        return list(compare_metadata(context, history.metadata))


def tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names())


@pytest.mark.parametrize("history", [DATA, KEYS], ids=lambda history: history.name)
def test_migrations_lead_to_the_models_and_nothing_else(fresh_config: StorageConfig, history: History) -> None:
    schema.upgrade(fresh_config)
    with opened(fresh_config, history) as database:
        assert drift(history, database) == []
        assert tables(database) == {*history.metadata.tables, history.version_table}


def test_the_drift_check_is_able_to_fail(fresh_config: StorageConfig) -> None:
    schema.upgrade(fresh_config)
    with opened(fresh_config, DATA) as database:
        with database.session() as session:
            session.execute(text("ALTER TABLE voices ADD COLUMN colour VARCHAR(10)"))
            session.execute(text("DROP INDEX ix_outbox_sent_at"))
        assert len(drift(DATA, database)) == 2


@pytest.mark.parametrize("history", [DATA, KEYS], ids=lambda history: history.name)
def test_every_migration_goes_forwards_backwards_and_forwards(fresh_config: StorageConfig, history: History) -> None:
    with opened(fresh_config, history) as database:
        config = history.alembic(database)
        steps = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()][::-1]
        for step in steps:
            command.upgrade(config, step)
            command.downgrade(config, "-1")
            command.upgrade(config, step)
        assert schema.standing(history, database) == history.head == steps[-1]
        command.downgrade(config, "base")
        assert tables(database) == {history.version_table}
        command.upgrade(config, "head")
        assert drift(history, database) == []


def test_upgrading_twice_changes_nothing(fresh_config: StorageConfig) -> None:
    schema.upgrade(fresh_config)
    storage = Storage.open(fresh_config)
    user = factories.make_user(storage)
    storage.close()
    schema.upgrade(fresh_config)
    schema.require_current(fresh_config)
    storage = Storage.open(fresh_config)
    assert storage.keys.data_key(user.id)
    storage.close()


def test_unmigrated_databases_are_refused_with_what_to_run(fresh_config: StorageConfig) -> None:
    with pytest.raises(ConfigurationError, match=r"storage\.schema upgrade"):
        schema.require_current(fresh_config)


def test_a_failing_migration_leaves_nothing_behind(fresh_config: StorageConfig) -> None:
    with opened(fresh_config, DATA) as database:
        with database.session() as session:
            session.execute(text("CREATE TABLE voices (id INTEGER)"))  # in the way of the first migration
        with pytest.raises(Exception, match="voices"):
            command.upgrade(DATA.alembic(database), "head")
        assert tables(database) == {"voices"}


def test_the_database_itself_keeps_one_live_run_a_voice(storage: Storage) -> None:
    user = factories.make_user(storage)
    voice = factories.first_voice(storage, user)
    insert = text(
        "INSERT INTO tuning_runs (id, user_id, voice_id, state, fence, attempts, cancel_requested, sample_ids, seed, "
        "step, max_steps, figures, created_at) "
        "VALUES (:id, :user, :voice, :state, 0, 0, :no, '[]', 0, 0, 0, '{}', 1)"
    )
    given = {"user": user.id, "voice": voice.id, "no": False}
    with storage.database.session() as session:
        for number in range(2):
            session.execute(insert, {**given, "id": f"run-ended-{number}", "state": "succeeded"})
        session.execute(insert, {**given, "id": "run-live", "state": "queued"})
    for state in LIVE_STATES:
        with pytest.raises(RowExists), storage.database.session() as session:
            session.execute(insert, {**given, "id": "run-second", "state": state})


def test_data_with_accounts_is_not_opened_with_an_empty_key_store(storage_config: StorageConfig) -> None:
    schema.upgrade(storage_config)
    storage = Storage.open(storage_config)
    factories.make_user(storage)
    storage.close()
    other = replace(storage_config, key_store_url=storage_config.key_store_url.replace("keys.db", "other.db"))
    with pytest.raises(ConfigurationError, match="IDIOLECT_KEY_STORE_URL"):
        schema.upgrade(other)


def migrate(config: StorageConfig, **change: str) -> subprocess.CompletedProcess[str]:
    """The migrate job as a process of its own."""
    env = {
        "PATH": os.defpath,
        "IDIOLECT_DATABASE_URL": config.database_url,
        "IDIOLECT_KEY_STORE_URL": config.key_store_url,
        "IDIOLECT_CACHE_URL": config.cache_url,
        "IDIOLECT_MASTER_KEY": config.master_key.hex(),
        **change,
    }
    return subprocess.run(
        [sys.executable, "-m", "storage.schema", "upgrade"],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_migrate_job_upgrades_and_refuses_a_wrong_key_in_one_line(storage_config: StorageConfig) -> None:
    done = migrate(storage_config)
    assert (done.returncode, done.stderr) == (0, "")
    schema.require_current(storage_config)
    files = {path.name: path.read_bytes() for path in Path(storage_config.database_url[10:]).parent.glob("*.db")}
    refused = migrate(storage_config, IDIOLECT_MASTER_KEY="ab" * 32)
    assert refused.returncode == 2
    assert refused.stderr.startswith("idiolect: the master key does not open this key store")
    assert refused.stderr.count("\n") == 1
    assert files == {
        path.name: path.read_bytes() for path in Path(storage_config.database_url[10:]).parent.glob("*.db")
    }


def test_two_migrate_jobs_at_once_take_turns(fresh_config: StorageConfig) -> None:
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(migrate, [fresh_config, fresh_config]))
    assert [(job.returncode, job.stderr) for job in done] == [(0, ""), (0, "")]
    schema.require_current(fresh_config)


def test_a_missing_setting_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("IDIOLECT_DATABASE_URL", raising=False)
    assert schema.main(["upgrade"]) == 2
    assert "IDIOLECT_DATABASE_URL" in capsys.readouterr().err


def test_who_is_an_administrator_already_becomes_an_owner(fresh_config: StorageConfig) -> None:
    columns = "id, email, password_hash, role, state, created_at"
    insert = text(f"INSERT INTO users ({columns}) VALUES (:id, :id, '', :role, 'active', 1)")
    with opened(fresh_config, DATA) as database:
        config = DATA.alembic(database)
        command.upgrade(config, "0010")
        with database.session() as session:
            session.execute(insert, [{"id": "user-chief", "role": "admin"}, {"id": "user-ada", "role": "writer"}])
        command.upgrade(config, "head")
        with database.reading() as session:
            assert session.get_one(User, "user-chief").console == "owner"
            assert session.get_one(User, "user-ada").console is None
