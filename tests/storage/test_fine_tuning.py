"""Jobs in storage, on both databases: one transaction, one voice, however many ask at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from storage import fine_tuning, outbox, samples, tuning_runs, uploads, voices
from storage.errors import Conflict, IntegrityError, InvalidSample, NotFound
from storage.fine_tuning import JobRequest
from storage.models import TuningRun, User
from storage.store import Storage
from tests import factories
from tests.factories import SAMPLE_TEXTS

DRAFTS = [samples.draft(text) for text in SAMPLE_TEXTS]


@pytest.fixture
def user(storage: Storage) -> User:
    return factories.make_user(storage)


@pytest.fixture
def asked(storage: Storage, user: User) -> JobRequest:
    data = "\n".join(json.dumps({"text": text}) for text in SAMPLE_TEXTS).encode()
    with storage.database.session() as session:
        file = uploads.add_upload(session, storage.keys, user_id=user.id, data=data, filename="mine.jsonl")
    return JobRequest(file.id, "base", metadata={"for": "tests"})


def request(
    storage: Storage, user: User, asked: JobRequest, voice_id: str | None = None, *, seed: int = 0
) -> tuple[TuningRun, bool]:
    with storage.database.session() as session:
        return fine_tuning.request_job(
            session, storage.keys, user_id=user.id, voice_id=voice_id, asked=asked, drafts=DRAFTS, seed=seed
        )


def voice_names(storage: Storage, user: User) -> list[str]:
    with storage.database.reading() as session:
        return [voice.name for voice in voices.list_voices(session, user.id)]


def test_a_job_makes_its_voice_adds_the_samples_and_asks_for_the_run(
    storage: Storage, user: User, asked: JobRequest
) -> None:
    run, created = request(storage, user, asked)
    assert created
    with storage.database.reading() as session:
        assert [run_id for _, run_id in outbox.unsent(session)] == [run.id]
        kept = samples.list_samples(session, storage.keys, user.id, run.voice_id)
        assert run.sample_ids == [sample.id for sample in kept]
        events = tuning_runs.list_newest_events(session, user.id, run.id)
        assert events[0].message == f"{len(DRAFTS)} samples of the file were added."
        assert tuning_runs.list_newest_events(session, user.id, run.id, before=events[0].id) == events[1:]
    assert fine_tuning.read_job(storage.keys, run) == replace(asked, samples_added=len(DRAFTS))
    assert voice_names(storage, user) == ["My voice", "My voice 2"]


def test_jobs_asked_for_at_once_are_one(storage: Storage, user: User, asked: JobRequest) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: request(storage, user, asked), range(4)))
    assert len({run.id for run, _ in found}) == 1
    assert [created for _, created in found].count(True) == 1
    assert voice_names(storage, user) == ["My voice", "My voice 2"]
    other, created = request(storage, user, asked, seed=1)
    assert created
    with storage.database.session() as session:
        tuning_runs.cancel_run(session, user_id=user.id, run_id=other.id, actor_id=None)
    assert request(storage, user, asked, seed=1)[1], "that one has ended"


def test_what_fails_leaves_nothing(storage: Storage, user: User, asked: JobRequest) -> None:
    voice = factories.first_voice(storage, user)
    factories.make_run(storage, user, voice)
    with pytest.raises(Conflict, match="going on"):
        request(storage, user, asked, voice.id)
    with pytest.raises(NotFound):
        request(storage, factories.make_user(storage), asked)
    with pytest.raises(NotFound):
        request(storage, user, asked, factories.first_voice(storage, factories.make_user(storage)).id)
    with pytest.raises(NotFound):
        request(storage, user, replace(asked, training_file="file-unknown"))
    with pytest.raises(InvalidSample), storage.database.session() as session:
        fine_tuning.request_job(
            session, storage.keys, user_id=user.id, voice_id=None, asked=asked, drafts=DRAFTS[:1], seed=0
        )
    assert voice_names(storage, user) == ["My voice"]


def test_a_voice_is_found_by_id_or_name_by_its_owner_alone(storage: Storage, user: User) -> None:
    voice, stranger = factories.make_voice(storage, user, "Letters"), factories.make_user(storage)
    with storage.database.reading() as session:
        for name in (voice.id, "Letters"):
            assert fine_tuning.find_voice(session, user.id, name).id == voice.id
            with pytest.raises(NotFound):
                fine_tuning.find_voice(session, stranger.id, name)


def test_what_was_asked_for_opens_only_in_its_place(storage: Storage, user: User, asked: JobRequest) -> None:
    run, _ = request(storage, user, asked)
    other, _ = request(storage, user, asked, seed=1)
    assert (
        fine_tuning.read_job(storage.keys, factories.make_run(storage, user, factories.first_voice(storage, user)))
        is None
    )
    other.job_sealed = run.job_sealed
    with pytest.raises(IntegrityError):
        fine_tuning.read_job(storage.keys, other)
