"""Training files: kept sealed, read back by their owner alone, gone when deleted."""

import json

import pytest
from sqlalchemy import text

from storage import audit, samples, uploads
from storage.errors import IntegrityError, InvalidUpload, KeyErased, LimitReached, NotFound
from storage.models import Upload, User
from storage.store import Storage
from tests import factories
from tests.factories import SAMPLE_TEXTS

DATA = "".join(json.dumps({"text": text_}) + "\n" for text_ in SAMPLE_TEXTS).encode()


@pytest.fixture
def user(storage: Storage) -> User:
    return factories.make_user(storage)


def upload(storage: Storage, user: User, data: bytes = DATA, filename: str = "diary.jsonl") -> uploads.StoredFile:
    with storage.database.session() as session:
        return uploads.add_upload(session, storage.keys, user_id=user.id, data=data, filename=filename)


def test_a_file_is_read_back_as_it_was_given(storage: Storage, user: User) -> None:
    kept = upload(storage, user)
    assert (kept.filename, kept.num_bytes, kept.num_samples) == ("diary.jsonl", len(DATA), len(SAMPLE_TEXTS))
    with storage.database.reading() as session:
        assert uploads.read_upload(session, storage.keys, user.id, kept.id) == DATA
        assert uploads.get_upload(session, storage.keys, user.id, kept.id) == kept
        (event,) = audit.list_events(session, subject_id=kept.id)
    assert (event.action, event.actor_id, event.detail) == ("file.uploaded", user.id, {"num_bytes": len(DATA)})


def test_the_row_holds_no_word_of_it_nor_its_name(storage: Storage, user: User) -> None:
    upload(storage, user)
    with storage.database.session() as session:
        (row,) = session.execute(text("SELECT * FROM uploads")).all()
    held = repr([bytes(value) if isinstance(value, memoryview) else value for value in row])
    assert "diary" not in held
    assert SAMPLE_TEXTS[0][:20] not in held


def test_a_row_moved_to_another_owner_does_not_open(storage: Storage, user: User) -> None:
    kept, thief = upload(storage, user), factories.make_user(storage)
    with storage.database.session() as session:
        session.get_one(Upload, kept.id).user_id = thief.id
    with storage.database.reading() as session, pytest.raises(IntegrityError):
        uploads.read_upload(session, storage.keys, thief.id, kept.id)


def test_of_a_bad_file_nothing_is_kept(storage: Storage, user: User) -> None:
    with pytest.raises(InvalidUpload, match=r"^Line 6 is not JSON"):
        upload(storage, user, DATA + b"{")
    with storage.database.reading() as session:
        assert uploads.list_uploads(session, storage.keys, user.id) == []


def test_files_are_listed_newest_first_and_limited(
    storage: Storage, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_UPLOADS", 2)
    first, second = upload(storage, user), upload(storage, user, filename=" a\nb ")
    with storage.database.reading() as session:
        assert uploads.list_uploads(session, storage.keys, user.id) == [second, first]
    assert second.filename == "a b"
    with pytest.raises(LimitReached, match="delete one"):
        upload(storage, user)


def test_a_deleted_file_is_gone_and_an_erased_key_opens_none(storage: Storage, user: User) -> None:
    kept, other = upload(storage, user), upload(storage, user)
    with storage.database.session() as session:
        uploads.delete_upload(session, user.id, kept.id)
    with storage.database.session() as session, pytest.raises(NotFound):
        uploads.delete_upload(session, user.id, kept.id)
    storage.keys.erase(user.id)
    with storage.database.reading() as session, pytest.raises(KeyErased):
        uploads.read_upload(session, storage.keys, user.id, other.id)


def test_drafts_join_a_voice_each_once_and_in_order(storage: Storage, user: User) -> None:
    voice = factories.first_voice(storage, user)
    factories.add_samples(storage, user, voice, SAMPLE_TEXTS[1:2])
    drafts = [samples.draft(SAMPLE_TEXTS[number], prompt="Why?") for number in (0, 1, 2, 0)]
    for expected in (2, 0):
        with storage.database.session() as session:
            added = samples.add_drafts(session, storage.keys, user_id=user.id, voice_id=voice.id, drafts=drafts)
        assert added == expected
    with storage.database.reading() as session:
        kept = samples.list_samples(session, storage.keys, user.id, voice.id)
    assert [sample.text for sample in kept] == [SAMPLE_TEXTS[number] for number in (1, 0, 2)]
    assert [sample.prompt for sample in kept] == [None, "Why?", "Why?"]
    assert [sample.position for sample in kept] == [0, 1, 2]


def test_drafts_that_do_not_all_fit_are_not_kept_at_all(
    storage: Storage, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "MAX_SAMPLES", 3)
    voice = factories.first_voice(storage, user)
    drafts = [samples.draft(text_) for text_ in SAMPLE_TEXTS[:4]]
    with pytest.raises(LimitReached, match="may have 3"), storage.database.session() as session:
        samples.add_drafts(session, storage.keys, user_id=user.id, voice_id=voice.id, drafts=drafts)
    with storage.database.reading() as session:
        assert samples.list_samples(session, storage.keys, user.id, voice.id) == []
