"""Voices and which version speaks."""

import pytest
from sqlalchemy import inspect

from storage import voices
from storage.errors import Conflict, LimitReached, NotFound
from storage.store import Storage
from tests import factories


def test_a_person_may_have_several_voices(storage: Storage) -> None:
    user = factories.make_user(storage)
    factories.make_voice(storage, user, "  Letters\n home ")
    with storage.database.session() as session:
        assert [voice.name for voice in voices.list_voices(session, user.id)] == ["My voice", "Letters home"]


def test_names_are_needed_and_unique_within_a_person(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    voice = factories.make_voice(storage, user, "Letters")
    factories.make_voice(storage, other, "Letters")
    with storage.database.session() as session:
        for name in ("Letters", "  "):
            with pytest.raises(Conflict):
                voices.create_voice(session, user.id, name)
        with pytest.raises(Conflict, match="already have"):
            voices.rename_voice(session, user.id, voice.id, "My voice")
        assert voices.rename_voice(session, user.id, voice.id, "Letters").name == "Letters"
        assert voices.rename_voice(session, user.id, voice.id, "Mail").name == "Mail"


def test_names_are_made_fit_for_a_heading(storage: Storage) -> None:
    user = factories.make_user(storage)
    assert factories.make_voice(storage, user, "Let\x00ters\ud800\n to  Ann\u0301").name == "Letters to Anń"
    assert len(factories.make_voice(storage, user, "x" * 500).name) == 80


def test_a_person_has_twenty_voices_at_most(storage: Storage) -> None:
    user = factories.make_user(storage)
    for number in range(19):
        factories.make_voice(storage, user, f"voice {number}")
    with pytest.raises(LimitReached, match="20 voices"):
        factories.make_voice(storage, user, "one more")


def test_a_published_version_is_used_rolled_back_and_switched_off(storage: Storage) -> None:
    user = factories.make_user(storage)
    voice = factories.first_voice(storage, user)
    for data in (b"one", b"two"):
        factories.publish(storage, user, voice, data)
    with storage.database.session() as session:
        assert [version.version for version in voices.list_versions(session, user.id, voice.id)] == [2, 1]
        assert voices.get_voice(session, user.id, voice.id).active_version == 2
        for version in (1, None, 2):
            assert voices.use_version(session, user.id, voice.id, version).active_version == version
        with pytest.raises(NotFound):
            voices.use_version(session, user.id, voice.id, 3)


def test_lists_of_versions_leave_the_bytes_where_they_are(storage: Storage) -> None:
    user = factories.make_user(storage)
    voice = factories.first_voice(storage, user)
    factories.publish(storage, user, voice)
    with storage.database.session() as session:
        (listed,) = voices.list_versions(session, user.id, voice.id)
        assert "sealed" in inspect(listed).unloaded
        assert listed.num_bytes == len(b"prefix bytes")


def test_deleting_a_voice_takes_everything_in_it_and_nothing_else(storage: Storage) -> None:
    user = factories.make_user(storage)
    voice, kept = factories.first_voice(storage, user), factories.make_voice(storage, user)
    factories.publish(storage, user, voice)
    factories.publish(storage, user, kept)
    factories.make_run(storage, user, voice)
    voices.delete_voice(storage, user.id, voice.id)
    with storage.database.session() as session:
        assert [left.id for left in voices.list_voices(session, user.id)] == [kept.id]
        assert len(voices.list_versions(session, user.id, kept.id)) == 1
    assert storage.cache.figures().entries == 1
    with pytest.raises(NotFound):
        voices.delete_voice(storage, user.id, voice.id)


def test_of_each_voice_that_speaks_the_version_that_does_is_known(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    first, second, silent = (factories.make_voice(storage, user, name) for name in ("One", "Two", "Three"))
    for whose, voice in ((user, first), (user, first), (user, second), (user, silent)):
        factories.publish(storage, whose, voice)
    factories.publish(storage, other, factories.first_voice(storage, other))
    with storage.database.session() as session:
        voices.use_version(session, user.id, first.id, 1)
        voices.use_version(session, user.id, silent.id, None)
    with storage.database.reading() as session:
        speaking = voices.versions_in_use(session, user.id)
        assert voices.with_versions(session, user.id) == {first.id, second.id, silent.id}
    assert {voice_id: version.version for voice_id, version in speaking.items()} == {first.id: 1, second.id: 1}
