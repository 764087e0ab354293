"""What one account may have: defaults, an owner's own numbers, and every place that takes something in."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from storage import audit, quotas, sample_changes, samples, tuning_runs, uploads, usage, users, voices
from storage.errors import Conflict, LimitReached, NotFound
from storage.models import User
from storage.quotas import Kind
from storage.store import Storage
from tests import factories

CHIEF = "user-chief"
TEXT = factories.SAMPLE_TEXTS[0]


@pytest.fixture
def user(storage: Storage) -> User:
    return factories.make_user(storage)


def allow(storage: Storage, user: User, **numbers: int | None) -> None:
    given: dict[Kind, int | None] = {kind: numbers.get(kind) for kind in quotas.KINDS}
    with storage.database.session() as session:
        quotas.set_own(session, user.id, given, CHIEF)


def refused(storage: Storage, deed: Callable[[Session], object], match: str) -> None:
    with pytest.raises(LimitReached, match=match), storage.database.session() as session:
        deed(session)


def test_the_defaults_are_the_configurations_and_an_owner_sets_others_for_one_person(
    storage: Storage, user: User
) -> None:
    other = factories.make_user(storage)
    allow(storage, user, voices=3, samples=0)
    with storage.database.reading() as session:
        mine, theirs = quotas.of(session, user.id), quotas.of(session, other.id)
        assert theirs == quotas.Quotas.of_config(storage.config)
    assert (mine.voices, mine.samples, mine.runs) == (3, 0, storage.config.quota_runs)
    allow(storage, user)
    with storage.database.reading() as session:
        assert quotas.of(session, user.id) == theirs


def test_a_change_is_recorded_once_and_nonsense_changes_nothing(storage: Storage, user: User) -> None:
    for _ in range(2):
        allow(storage, user, voices=3)
    for wrong in (-1, quotas.MOST + 1):
        with pytest.raises(Conflict, match="Nothing was changed"):
            allow(storage, user, runs=wrong)
    with storage.database.session() as session, pytest.raises(NotFound):
        quotas.set_own(session, "user-nobody", {}, CHIEF)
    with storage.database.reading() as session:
        (event,) = audit.list_events(session, action="user.quotas_changed")
        assert quotas.own_numbers(session, user.id)["runs"] is None
    none = {"samples": None, "stored_mb": None, "runs": None, "tokens_per_day": None}
    assert (event.actor_id, event.subject_id, event.detail) == (CHIEF, user.id, {"voices": 3, **none})


def test_no_voice_more_than_the_quota(storage: Storage, user: User) -> None:
    allow(storage, user, voices=2)
    factories.make_voice(storage, user)
    refused(storage, lambda session: voices.create_voice(session, user.id, "One more"), "may have 2 voices and has 2")
    allow(storage, user, voices=0)
    factories.make_voice(storage, user, "One more, without a bound")


def test_samples_are_counted_over_all_voices(storage: Storage, user: User) -> None:
    first, second = factories.first_voice(storage, user), factories.make_voice(storage, user)
    allow(storage, user, samples=3)
    factories.add_samples(storage, user, first, factories.SAMPLE_TEXTS[:2])
    given = {"user_id": user.id, "voice_id": second.id}

    def add(number: int) -> Callable[[Session], object]:
        return lambda session: samples.add_sample(
            session, storage.keys, text=f"{TEXT} Number {number}.", **given
        )  # fmt: skip

    with storage.database.session() as session:
        add(1)(session)
    refused(storage, add(2), "3 samples in all its voices and has 3. .* an owner of this platform can allow you more")
    drafts = [samples.draft(f"{TEXT} Number {number}.") for number in (3, 4)]
    refused(storage, lambda s: samples.add_drafts(s, storage.keys, drafts=drafts, **given), "has 3")
    with storage.database.reading() as session:
        room = samples.room_left(session, user.id, second.id)
    assert room.num_samples == 0
    assert "3 samples in all its voices" in room.bounds


def test_above_a_lowered_quota_everything_stays_and_may_be_edited_or_deleted_and_not_grow(
    storage: Storage, user: User
) -> None:
    voice = factories.first_voice(storage, user)
    kept = factories.add_samples(storage, user, voice)
    allow(storage, user, samples=2)
    mine = (user.id, voice.id)
    with storage.database.session() as session:
        new = sample_changes.change_text(session, storage.keys, *mine, kept[0].id, f"{TEXT[:-20]} And shorter.")
        samples.delete_sample(session, *mine, kept[1].id)
    halves = (TEXT[:100], TEXT[100:])
    refused(storage, lambda s: sample_changes.split_sample(s, storage.keys, *mine, new, halves), "2 samples")
    with storage.database.session() as session:
        assert tuning_runs.request_run(session, user_id=user.id, voice_id=voice.id)[1]


def test_text_and_files_share_the_stored_megabytes(storage: Storage, user: User) -> None:
    voice = factories.first_voice(storage, user)
    allow(storage, user, stored_mb=1)
    data = "".join(json.dumps({"text": f"{number} {TEXT * 8}"}) + "\n" for number in range(350)).encode()
    assert 800_000 < len(data) < 1_000_000

    def upload(session: Session) -> object:
        return uploads.add_upload(session, storage.keys, user_id=user.id, data=data, filename="a.jsonl")

    with storage.database.session() as session:
        upload(session)
    refused(storage, upload, "keep 1 MB of samples and files and keeps 0.[89]")
    long = "word " * 39_000  # with the file, more than a megabyte
    refused(
        storage,
        lambda s: samples.add_sample(s, storage.keys, user_id=user.id, voice_id=voice.id, text=long),
        "1 MB of samples and files",
    )
    with storage.database.reading() as session:
        room = samples.room_left(session, user.id, voice.id)
    assert room.num_chars == 1_000_000 - len(data)
    assert "1 MB of samples and files" in room.bounds


def test_live_runs_are_bounded_and_those_an_administrator_asks_for_are_not(storage: Storage, user: User) -> None:
    allow(storage, user, runs=1)
    first, second = factories.first_voice(storage, user), factories.make_voice(storage, user)
    run = factories.make_run(storage, user, first)
    factories.add_samples(storage, user, second)

    def ask(session: Session) -> object:
        return tuning_runs.request_run(session, user_id=user.id, voice_id=second.id)

    refused(storage, ask, "1 training waiting, paused or under way and has 1")
    with storage.database.session() as session:  # the live one is the answer still
        live, is_new = tuning_runs.request_run(session, user_id=user.id, voice_id=first.id)
        assert (live.id, is_new) == (run.id, False)
        assert tuning_runs.request_run_for(session, second.id, CHIEF)[1]
    with storage.database.session() as session:
        tuning_runs.cancel_run(session, user_id=user.id, run_id=run.id, actor_id=user.id)
        assert tuning_runs.retry_run(session, run.id, actor_id=CHIEF)


def test_a_persons_standing_names_every_kind(storage: Storage, user: User) -> None:
    factories.make_run(storage, user, factories.first_voice(storage, user))
    place = usage.Place(user.id, usage.today(), "key-a", "voice-a")
    yesterday = usage.Place(user.id, "2020-01-01", "key-a", "voice-a")
    with storage.database.session() as session:
        usage.add(session, {place: usage.Counts(1, 30, 12), yesterday: usage.Counts(1, 999, 999)})
    allow(storage, user, runs=7)
    chars = sum(map(len, factories.SAMPLE_TEXTS))
    with storage.database.reading() as session:
        found = {standing.kind: standing for standing in quotas.standings(session, user.id)}
    assert {kind: standing.used for kind, standing in found.items()} == {
        "voices": 1,
        "samples": len(factories.SAMPLE_TEXTS),
        "stored_mb": chars / 1_000_000,
        "runs": 1,
        "tokens_per_day": 42,
    }
    assert [kind for kind, standing in found.items() if standing.own] == ["runs"]
    assert found["runs"].limit == 7


def test_nobodys_quota_outlives_them(storage: Storage, user: User) -> None:
    allow(storage, user, voices=3)
    users.erase_user(storage, user.id, user.id)
    with storage.database.reading() as session:
        assert quotas.own_numbers(session, user.id)["voices"] is None
