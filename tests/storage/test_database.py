"""Transactions, pools and locks of the two databases, also between processes."""

import multiprocessing
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from storage.database import Database, _write_ahead, parse_url
from storage.errors import ConfigurationError, NotFound
from storage.store import Storage

PROCESSES = 2
ROUNDS = 40


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:////tmp/x.db", "sqlite"),
        ("postgresql://me@host/x", "postgresql+psycopg"),
        ("postgres://me@host/x", "postgresql+psycopg"),
        ("postgresql+psycopg://me@host/x", "postgresql+psycopg"),
    ],
)
def test_urls_get_the_driver_that_is_installed(url: str, driver: str) -> None:
    assert parse_url(url).drivername == driver


@pytest.mark.parametrize("url", ["mysql://me:hush@host/x", "sqlite://", "sqlite:///:memory:", "hush", "", "sqlite:///"])
def test_other_urls_are_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_url(url)
    assert "hush" not in str(refused.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="gone"):
        Database(f"sqlite:///{tmp_path / 'gone' / 'x.db'}")


def test_a_path_with_spaces_and_percent_signs_works(tmp_path: Path) -> None:
    folder = tmp_path / "my data 100%"
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'x.db'}")
    with database.session() as session:
        session.execute(text("CREATE TABLE t (n INTEGER)"))
    database.dispose()
    assert (folder / "x.db").exists()


def test_a_session_commits_at_its_end_and_rolls_back_on_an_error(storage: Storage) -> None:
    insert = text("INSERT INTO workers (name, started_at, last_seen_at) VALUES (:name, 1, 1)")
    with storage.database.session() as session:
        session.execute(insert, {"name": "kept"})
    with pytest.raises(DBAPIError), storage.database.session() as session:  # noqa: PT012
        session.execute(insert, {"name": "lost"})
        session.execute(text("SELECT nothing FROM nowhere"))
    with storage.database.session() as session:
        assert session.scalars(text("SELECT name FROM workers")).all() == ["kept"]


def test_foreign_keys_are_enforced(storage: Storage) -> None:
    orphan = text("INSERT INTO voices (id, user_id, name, created_at) VALUES ('voice-x', 'user-nobody', 'x', 1)")
    with pytest.raises(NotFound, match="same moment"), storage.database.session() as session:
        session.execute(orphan)


def test_reading_does_not_wait_for_a_writer(storage: Storage) -> None:
    written, read = threading.Event(), threading.Event()
    seen: list[int] = []

    def look() -> None:
        written.wait(5)
        with storage.database.reading() as session:
            seen.append(session.execute(text("SELECT count(*) FROM workers")).scalar_one())
        read.set()

    reader = threading.Thread(target=look)
    reader.start()
    with storage.database.session() as session:
        session.execute(text("INSERT INTO workers (name, started_at, last_seen_at) VALUES ('w', 1, 1)"))
        written.set()
        assert read.wait(5), "the reader waited for the writer"
    reader.join()
    assert seen == [0]


def test_sqlite_is_set_up_for_many_processes(sqlite_storage: Storage) -> None:
    with sqlite_storage.database.session() as session:
        settings = {
            name: session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "secure_delete")
        }
    assert settings == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 5000, "secure_delete": 1}


def count_up(url: str, rounds: int) -> None:
    """In a process of its own: read, then write what was read plus one, in one transaction, often."""
    database = Database(url)
    for _ in range(rounds):
        with database.session() as session:
            so_far = session.execute(text("SELECT n FROM counter")).scalar_one()
            session.execute(text("UPDATE counter SET n = :n"), {"n": so_far + 1})
        with database.reading() as session:
            session.execute(text("SELECT n FROM counter")).scalar_one()
    database.dispose()


def test_several_processes_share_one_sqlite_file_without_an_error_or_a_lost_update(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    database = Database(url)
    with database.session() as session:
        session.execute(text("CREATE TABLE counter (n INTEGER)"))
        session.execute(text("INSERT INTO counter VALUES (0)"))
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=count_up, args=(url, ROUNDS)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    count_up(url, ROUNDS)
    for process in processes:
        process.join(120)
    with database.session() as session:
        total = session.execute(text("SELECT n FROM counter")).scalar_one()
    database.dispose()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert total == ROUNDS * (PROCESSES + 1)


def busy_error(path: Path) -> sqlite3.OperationalError:
    """What SQLite says to one who will not wait."""
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as holder,
        closing(sqlite3.connect(path, timeout=0)) as late,
    ):
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError) as busy:
            late.execute("PRAGMA journal_mode = WAL")
    return busy.value


class Contended(sqlite3.Connection):
    """A real connection that is told at first it is busy: two who switch one file at once see this at random."""

    failures: list[sqlite3.OperationalError]

    def cursor(self, *arguments: Any, **options: Any) -> sqlite3.Cursor:
        if self.failures:
            raise self.failures.pop()
        return super().cursor(*arguments, **options)


def test_the_switch_to_the_write_ahead_log_is_tried_again_while_another_process_is_at_it(tmp_path: Path) -> None:
    busy = busy_error(tmp_path / "other.db")
    assert busy.sqlite_errorcode == sqlite3.SQLITE_BUSY
    connection = sqlite3.connect(tmp_path / "new.db", factory=Contended)
    connection.failures = [busy, busy]
    with closing(connection):
        _write_ahead(connection)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_any_other_failure_of_the_switch_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("This is no database, and it is long enough to be looked at as one. " * 20)
    with closing(sqlite3.connect(tmp_path / "no.db")) as connection, pytest.raises(sqlite3.DatabaseError):
        _write_ahead(connection)
