"""Reading with a reason, on both databases."""

import pytest

from storage import audit, break_glass, users
from storage.break_glass import Reading
from storage.errors import Conflict, KeyErased, NotFound
from storage.models import AuditEvent
from storage.sample_rows import Sample
from storage.store import Storage
from tests import factories

REASON = "A complaint says that this is copied from a book"


def read(storage: Storage, actor_id: str, user_id: str, sample_id: str, reason: str = REASON) -> Sample:
    return break_glass.read_sample(storage, actor_id=actor_id, user_id=user_id, sample_id=sample_id, reason=reason)


def trail(storage: Storage) -> list[AuditEvent]:
    with storage.database.reading() as session:
        return audit.list_events(session, action=break_glass.READ)


def readings(storage: Storage, user_id: str) -> list[Reading]:
    with storage.database.reading() as session:
        return break_glass.list_readings(session, user_id)


def test_a_sample_is_opened_and_its_owner_reads_who_why_and_which(storage: Storage) -> None:
    owner, user = factories.make_user(storage, role="admin"), factories.make_user(storage)
    voice = factories.first_voice(storage, user)
    (row, other) = factories.add_samples(storage, user, voice, factories.SAMPLE_TEXTS[:2])
    assert read(storage, owner.id, user.id, row.id).text == factories.SAMPLE_TEXTS[0]
    (told,) = readings(storage, user.id)
    assert (told.reader, told.sample_id, told.voice_id, told.reason) == (owner.email, row.id, voice.id, REASON)
    assert readings(storage, owner.id) == []
    users.erase_user(storage, user.id, user.id)
    (event,) = trail(storage)  # outlives the account
    assert (event.actor_id, event.subject_id) == (owner.id, user.id)
    assert event.detail == {"sample_id": row.id, "voice_id": voice.id, "reason": REASON}
    assert other.id not in str(event.detail)


@pytest.mark.parametrize("reason", ["", "   ", "because", "\n\n\n\n\n\n\n\n\n\n\n\n"])
def test_without_a_reason_nothing_is_opened_or_recorded(storage: Storage, reason: str) -> None:
    user = factories.make_user(storage)
    (row,) = factories.add_samples(storage, user, factories.first_voice(storage, user), factories.SAMPLE_TEXTS[:1])
    with pytest.raises(Conflict, match="Say in a sentence why"):
        read(storage, "user-chief", user.id, row.id, reason)
    assert trail(storage) == []


def test_a_sample_is_found_under_its_owner_only_and_what_is_not_there_is_not_recorded(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    (row,) = factories.add_samples(storage, user, factories.first_voice(storage, user), factories.SAMPLE_TEXTS[:1])
    for user_id, sample_id in ((other.id, row.id), (user.id, "sample-x")):
        with pytest.raises(NotFound):
            read(storage, "user-chief", user_id, sample_id)
    assert trail(storage) == []


def test_a_reading_that_fails_afterwards_stays_recorded(storage: Storage) -> None:
    user = factories.make_user(storage)
    (row,) = factories.add_samples(storage, user, factories.first_voice(storage, user), factories.SAMPLE_TEXTS[:1])
    storage.keys.erase(user.id)
    with pytest.raises(KeyErased):
        read(storage, "user-chief", user.id, row.id)
    assert len(trail(storage)) == 1
