"""Another person's ids are as good as none: every function that takes one says NotFound and changes nothing."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from storage import (
    api_keys,
    prefixes,
    reports,
    sample_changes,
    samples,
    trials,
    tuning_runs,
    uploads,
    users,
    voices,
)
from storage.errors import NotFound
from storage.models import Base
from storage.store import Storage
from tests import factories


@dataclass(frozen=True)
class Ids:
    """Of one person's things."""

    user: str
    voice: str
    sample: str
    run: str
    key: str
    file: str
    trial: str
    version: int = 1


Ask = Callable[[Storage, Session, str, Ids], object]  # storage, session, the stranger's id, what is the owner's
TEXT = factories.SAMPLE_TEXTS[4]
KEPT = factories.SAMPLE_TEXTS[0]
WITH_SESSION: dict[str, Ask] = {
    "get_voice": lambda _, s, me, ids: voices.get_voice(s, me, ids.voice),
    "rename_voice": lambda _, s, me, ids: voices.rename_voice(s, me, ids.voice, "Mine now"),
    "list_versions": lambda _, s, me, ids: voices.list_versions(s, me, ids.voice),
    "get_version": lambda _, s, me, ids: voices.get_version(s, me, ids.voice, ids.version),
    "read_report": lambda st, s, me, ids: reports.read_report(s, st.keys, me, ids.voice, ids.version),
    "use_version": lambda _, s, me, ids: voices.use_version(s, me, ids.voice, None),
    "add_sample": lambda st, s, me, ids: samples.add_sample(s, st.keys, user_id=me, voice_id=ids.voice, text=TEXT),
    "list_samples": lambda st, s, me, ids: samples.list_samples(s, st.keys, me, ids.voice),
    "get_sample": lambda st, s, me, ids: samples.get_sample(s, st.keys, me, ids.voice, ids.sample),
    "set_included": lambda _, s, me, ids: samples.set_included(s, me, ids.voice, ids.sample, False),
    "set_prompt": lambda st, s, me, ids: samples.set_prompt(s, st.keys, me, ids.voice, ids.sample, "Taken?"),
    "delete_sample": lambda _, s, me, ids: samples.delete_sample(s, me, ids.voice, ids.sample),
    "page_of": lambda st, s, me, ids: samples.page_of(s, st.keys, me, ids.voice, waiting=True, page=1, size=9),
    "room_left": lambda _, s, me, ids: samples.room_left(s, me, ids.voice),
    "decide": lambda _, s, me, ids: sample_changes.decide(s, me, ids.voice, [ids.sample], []),
    "discard_waiting": lambda _, s, me, ids: sample_changes.discard_waiting(s, me, ids.voice),
    "describe": lambda st, s, me, ids: sample_changes.describe(
        s, st.keys, me, ids.voice, ids.sample, title="Taken?", written_on=None
    ),
    "change_text": lambda st, s, me, ids: sample_changes.change_text(s, st.keys, me, ids.voice, ids.sample, KEPT),
    "set_part": lambda st, s, me, ids: sample_changes.set_part(s, st.keys, me, ids.voice, ids.sample, 1, out=False),
    "split_sample": lambda st, s, me, ids: sample_changes.split_sample(
        s, st.keys, me, ids.voice, ids.sample, [KEPT[:100], KEPT[100:]]
    ),
    "readiness": lambda _, s, me, ids: samples.readiness(s, me, ids.voice),
    "request_run": lambda _, s, me, ids: tuning_runs.request_run(s, user_id=me, voice_id=ids.voice),
    "get_run": lambda _, s, me, ids: tuning_runs.get_run(s, me, ids.run),
    "list_runs": lambda _, s, me, ids: tuning_runs.list_runs(s, me, ids.voice),
    "list_runs after": lambda _, s, me, ids: tuning_runs.list_runs(s, me, after=ids.run),
    "list_events": lambda _, s, me, ids: tuning_runs.list_events(s, me, ids.run),
    "cancel_run": lambda _, s, me, ids: tuning_runs.cancel_run(s, user_id=me, run_id=ids.run, actor_id=me),
    "pause_run": lambda _, s, me, ids: tuning_runs.pause_run(s, user_id=me, run_id=ids.run, actor_id=me),
    "resume_run": lambda _, s, me, ids: tuning_runs.resume_run(s, user_id=me, run_id=ids.run, actor_id=me),
    "get_upload": lambda st, s, me, ids: uploads.get_upload(s, st.keys, me, ids.file),
    "read_upload": lambda st, s, me, ids: uploads.read_upload(s, st.keys, me, ids.file),
    "hold_upload": lambda _, s, me, ids: uploads.hold_upload(s, me, ids.file),
    "delete_upload": lambda _, s, me, ids: uploads.delete_upload(s, me, ids.file),
    "begin_trial": lambda _, s, me, ids: trials.begin_trial(s, me, ids.voice, against=None),
    "get_trial": lambda _, s, me, ids: trials.get_trial(s, me, ids.trial),
    "choose": lambda _, s, me, ids: trials.choose(s, me, ids.trial, None),
    "tallies": lambda _, s, me, ids: trials.tallies(s, me, ids.voice, ids.version),
    "revoke_key": lambda _, s, me, ids: api_keys.revoke_key(s, me, ids.key, actor_id=me),
}
WITHOUT_SESSION: dict[str, Callable[[Storage, str, Ids], object]] = {
    "delete_voice": lambda st, me, ids: voices.delete_voice(st, me, ids.voice),
    "load_prefix": lambda st, me, ids: prefixes.load_prefix(st, me, ids.voice),
}


@pytest.fixture
def owner(storage: Storage) -> Ids:
    user = factories.make_user(storage)
    voice = factories.first_voice(storage, user)
    version = factories.publish(storage, user, voice)
    run = factories.make_run(storage, user, voice)
    with storage.database.session() as session:
        reports.add_report(session, storage.keys, user.id, version.run_id, {"neutral_rise_pct": 0.5})
        key, _ = api_keys.create_key(session, user.id, "laptop")
        sample_id = samples.included_ids(session, user.id, voice.id)[0]
        data = json.dumps({"text": TEXT}).encode()
        file = uploads.add_upload(session, storage.keys, user_id=user.id, data=data, filename="mine.jsonl")
        trial = trials.begin_trial(session, user.id, voice.id, against=None)
    return Ids(user.id, voice.id, sample_id, run.id, key.id, file.id, trial.id)


def everything(storage: Storage) -> list[list[tuple[object, ...]]]:
    with storage.database.session() as session:
        return [
            sorted(map(tuple, session.execute(text(f"SELECT * FROM {table.name}"))), key=str)
            for table in Base.metadata.sorted_tables
        ]


def test_a_stranger_finds_nothing_and_changes_nothing(storage: Storage, owner: Ids) -> None:
    stranger = factories.make_user(storage).id
    before = everything(storage)
    answered = [name for name in (*WITH_SESSION, *WITHOUT_SESSION) if not is_not_found(storage, name, stranger, owner)]
    assert answered == []
    assert everything(storage) == before


def test_the_owner_is_answered(storage: Storage, owner: Ids) -> None:
    with storage.database.session() as session:
        last = samples.included_ids(session, owner.user, owner.voice)[-1]
        samples.delete_sample(session, owner.user, owner.voice, last)  # its text is what add_sample adds
    others = {*WITH_SESSION} - {"set_part", "split_sample"}  # leave no sample of this id: see test_sample_changes
    names = sorted((*others, *WITHOUT_SESSION), key=lambda name: name.startswith("delete"))
    order = [name for name in names if name != "delete_voice"] + ["delete_voice"]
    for early in ("resume_run", "pause_run"):  # before it is cancelled
        order.remove(early)
        order.insert(0, early)
    order.remove("use_version")
    order.insert(-1, "use_version")  # switches the voice off
    assert [name for name in order if is_not_found(storage, name, owner.user, owner)] == []


@pytest.mark.parametrize("odd", ["", "voice-\x00", "\ud800", "x" * 5000, "' OR 1=1 --", "%", "ﬃ\u202e"])
def test_odd_ids_are_not_found_and_nothing_worse(storage: Storage, owner: Ids, odd: str) -> None:
    odd_ids = Ids(odd, odd, odd, odd, odd, odd, odd, 10**30)
    names = [*WITH_SESSION, *WITHOUT_SESSION]
    assert [name for name in names if not is_not_found(storage, name, owner.user, odd_ids)] == []
    for version in (0, -1, 2**31, 2**63, 10**30):
        with pytest.raises(NotFound), storage.database.session() as session:
            voices.get_version(session, owner.user, owner.voice, version)
    with storage.database.session() as session:
        assert users.verify_password(session, odd, odd, hasher=factories.FAST_HASHER) is None
        assert users.list_users(session, query="\ud800\x00nobody") == []


def is_not_found(storage: Storage, name: str, user_id: str, ids: Ids) -> bool:
    try:
        ask(storage, name, user_id, ids)
    except NotFound:
        return True
    return False


def ask(storage: Storage, name: str, user_id: str, ids: Ids) -> None:
    if name in WITHOUT_SESSION:
        WITHOUT_SESSION[name](storage, user_id, ids)
        return
    with storage.database.session() as session:
        WITH_SESSION[name](storage, session, user_id, ids)


def test_a_voice_of_ones_own_does_not_lead_to_anothers_sample(storage: Storage, owner: Ids) -> None:
    stranger = factories.make_user(storage)
    mine = factories.first_voice(storage, stranger)
    with storage.database.session() as session:
        for user_id, voice_id in ((stranger.id, mine.id), (owner.user, mine.id)):
            with pytest.raises(NotFound):
                samples.get_sample(session, storage.keys, user_id, voice_id, owner.sample)
        assert samples.read_samples(session, storage.keys, stranger.id, [owner.sample]) == []
        assert tuning_runs.list_runs(session, stranger.id) == []
