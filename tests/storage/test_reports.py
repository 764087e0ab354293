"""Reports of versions: sealed, their owner's alone, and never in the wrong place."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, inspect, text, update

from storage import reports, voices
from storage.errors import IntegrityError, KeyErased, NotFound
from storage.keys import KeyStore
from storage.models import PrefixVersion, User, Voice
from storage.store import Storage
from tests import factories

REPORT = {"in_context_bits_per_char": 2.4, "style": {"samples": {"function_words_per_100": {"quokka": 5.25}}}}
MARKS = ("style", "in_context", "function_words", "quokka")


@pytest.fixture
def user(storage: Storage) -> User:
    return factories.make_user(storage)


@pytest.fixture
def voice(storage: Storage, user: User) -> Voice:
    return factories.first_voice(storage, user)


def add_report(storage: Storage, user: User, run_id: str) -> None:
    with storage.database.session() as session:
        reports.add_report(session, storage.keys, user.id, run_id, REPORT)


def report_of(storage: Storage, user: User, voice: Voice, version: int = 1) -> dict[str, Any] | None:
    with storage.database.reading() as session:
        return reports.read_report(session, storage.keys, user.id, voice.id, version)


def test_a_report_is_added_once_and_only_by_the_owners_run(storage: Storage, user: User, voice: Voice) -> None:
    version = factories.publish(storage, user, voice)
    other = factories.make_user(storage)

    def add(user_id: str, run_id: str, report: dict[str, int]) -> None:
        with storage.database.session() as session:
            reports.add_report(session, storage.keys, user_id, run_id, report)

    def kept() -> object:
        return report_of(storage, user, voice)

    for whose, run_id in ((other.id, version.run_id), (user.id, "run-unknown")):
        with pytest.raises(NotFound):
            add(whose, run_id, {"number": 1})
    assert kept() is None
    add(user.id, version.run_id, {"number": 2})
    with pytest.raises(NotFound):
        add(user.id, version.run_id, {"number": 3})
    assert kept() == {"number": 2}


def test_a_stored_report_shows_nothing_of_what_it_says(storage: Storage, user: User, voice: Voice) -> None:
    add_report(storage, user, factories.publish(storage, user, voice).run_id)
    assert report_of(storage, user, voice) == REPORT
    with storage.database.session() as session:
        row = session.execute(text("SELECT * FROM prefix_versions")).mappings().one()
    stored = [bytes(value) if isinstance(value, memoryview) else value for value in row.values()]
    assert len(bytes(row["report_sealed"])) > 60
    assert not [mark for mark in MARKS if mark in repr(stored)]


def test_no_file_of_the_database_shows_it_either(sqlite_storage: Storage, tmp_path: Path) -> None:
    user = factories.make_user(sqlite_storage)
    voice = factories.first_voice(sqlite_storage, user)
    add_report(sqlite_storage, user, factories.publish(sqlite_storage, user, voice).run_id)
    files = {path.name: path.read_bytes() for path in tmp_path.glob("*.db*")}
    assert any(b"report_sealed" in held for held in files.values())
    shown = [(name, mark) for name, held in files.items() for mark in MARKS if mark.encode() in held]
    assert shown == []
    sqlite_storage.close()  # the write-ahead log is folded in
    assert not any(mark.encode() in (tmp_path / "data.db").read_bytes() for mark in MARKS)


def test_a_report_in_another_place_does_not_open(storage: Storage, user: User, voice: Voice) -> None:
    other = factories.make_user(storage)
    second, theirs = factories.make_voice(storage, user), factories.first_voice(storage, other)
    places = [(user, voice, 1), (user, voice, 2), (user, second, 1), (other, theirs, 1)]
    ids = [factories.publish(storage, whose, where).id for whose, where, _ in places]
    with storage.database.session() as session:
        mine = session.get_one(PrefixVersion, ids[0])
        reports.add_report(session, storage.keys, user.id, mine.run_id, REPORT)
        sealed, prefix_bytes = mine.report_sealed, mine.sealed

    def put(content: bytes | None) -> None:
        with storage.database.session() as session:
            session.execute(update(PrefixVersion).values(report_sealed=content))

    put(sealed)
    assert report_of(storage, *places[0]) == REPORT
    for place in places[1:]:
        with pytest.raises(IntegrityError):
            report_of(storage, *place)
    put(prefix_bytes)
    for place in places:
        with pytest.raises(IntegrityError):
            report_of(storage, *place)


def test_a_report_is_its_owners_alone_and_a_version_without_one_has_none(
    storage: Storage, user: User, voice: Voice
) -> None:
    version = factories.publish(storage, user, voice)
    assert report_of(storage, user, voice) is None
    add_report(storage, user, version.run_id)
    stranger = factories.make_user(storage)
    for whose, where, number in (
        (stranger, voice, 1),
        (user, voice, 2),
        (user, factories.first_voice(storage, stranger), 1),
    ):
        with pytest.raises(NotFound):
            report_of(storage, whose, where, number)


def test_with_the_key_erased_no_report_opens_and_none_is_added(storage: Storage, user: User, voice: Voice) -> None:
    first, second = (factories.publish(storage, user, voice) for _ in range(2))
    add_report(storage, user, first.run_id)
    storage.keys.erase(user.id)
    with pytest.raises(KeyErased):
        report_of(storage, user, voice)
    with pytest.raises(KeyErased):
        add_report(storage, user, second.run_id)
    storage.keys.create(user.id)  # another key is not the same key
    with pytest.raises(IntegrityError):
        report_of(storage, user, voice)


def test_a_list_of_versions_brings_no_sealed_bytes_along(storage: Storage, user: User, voice: Voice) -> None:
    add_report(storage, user, factories.publish(storage, user, voice).run_id)
    with storage.database.reading() as session:
        (version,) = voices.list_versions(session, user.id, voice.id)
    assert {"sealed", "report_sealed"} <= inspect(version).unloaded


def test_nobody_waits_for_a_report_to_be_made_ready(sqlite_storage: Storage) -> None:
    user = factories.make_user(sqlite_storage)
    run_id = factories.publish(sqlite_storage, user, factories.first_voice(sqlite_storage, user)).run_id
    order: list[str] = []

    class Watched(KeyStore):
        def data_key(self, user_id: str) -> bytes:
            order.append("key")
            return super().data_key(user_id)

    keys = Watched(sqlite_storage.config.key_store_url, sqlite_storage.config.master_key)
    event.listen(sqlite_storage.database.engine, "begin", lambda _: order.append("begin"))
    with sqlite_storage.database.session() as session:
        reports.add_report(session, keys, user.id, run_id, REPORT)
    keys.close()
    assert order == ["key", "begin"]
