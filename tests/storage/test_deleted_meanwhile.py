"""Somebody changes what another request deletes between the look at it and the write: only PostgreSQL lets two go on at
once, and it says the same as if the deletion had come first."""

from collections.abc import Callable

import pytest
from sqlalchemy import delete, event
from sqlalchemy.orm import Session

from storage import identities, samples, tuning_runs, users, voices
from storage.errors import NotFound
from storage.models import User, Voice, WritingSample
from storage.store import Storage
from tests import factories

Change = Callable[[Session, Storage, str, str, str], object]
pytestmark = pytest.mark.parametrize("storage", ["postgresql"], indirect=True)


def change(storage: Storage, user: User, act: Change, gone: type[User | Voice | WritingSample]) -> None:
    """Act on the person's first voice and sample, and delete the rows of a kind at the last moment before the write."""
    with storage.database.session() as session:
        voice = voices.list_voices(session, user.id)[0]
        sample_id = samples.included_ids(session, user.id, voice.id)[0]
    with storage.database.session() as session:

        @event.listens_for(session, "before_flush", once=True)
        def _(*_: object) -> None:
            with storage.database.session() as other:
                other.execute(delete(gone))

        act(session, storage, user.id, voice.id, sample_id)


def include(session: Session, _: Storage, user_id: str, voice_id: str, sample_id: str) -> None:
    samples.set_included(session, user_id, voice_id, sample_id, False)


def answer(session: Session, storage: Storage, user_id: str, voice_id: str, sample_id: str) -> None:
    samples.set_prompt(session, storage.keys, user_id, voice_id, sample_id, "What is it like at sea?")


def rename(session: Session, _: Storage, user_id: str, voice_id: str, __: str) -> None:
    voices.rename_voice(session, user_id, voice_id, "Letters")


def switch_off(session: Session, _: Storage, user_id: str, voice_id: str, __: str) -> None:
    voices.use_version(session, user_id, voice_id, None)


def another_voice(session: Session, _: Storage, user_id: str, __: str, ___: str) -> None:
    voices.create_voice(session, user_id, "Letters")


def train(session: Session, _: Storage, user_id: str, voice_id: str, __: str) -> None:
    tuning_runs.request_run(session, user_id=user_id, voice_id=voice_id)


def connect(session: Session, _: Storage, user_id: str, __: str, ___: str) -> None:
    identities.connect(session, user_id, "https://id.example", "s-1")


@pytest.mark.parametrize(
    ("act", "gone"),
    [
        (include, WritingSample),
        (answer, WritingSample),
        (rename, Voice),
        (switch_off, Voice),
        (another_voice, User),
        (train, Voice),
        (connect, User),
    ],
)
def test_what_was_deleted_in_the_same_moment_is_not_found(
    storage: Storage, act: Change, gone: type[User | Voice | WritingSample]
) -> None:
    user = factories.make_user(storage)
    voice = factories.first_voice(storage, user)
    factories.add_samples(storage, user, voice)
    if act is switch_off:
        factories.publish(storage, user, voice)
    with pytest.raises(NotFound, match="same moment"):
        change(storage, user, act, gone)
    with storage.database.session() as session:
        users.list_users(session)  # no transaction is left open or broken
