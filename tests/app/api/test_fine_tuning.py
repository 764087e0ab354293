"""The whole loop with the official client, unchanged: upload, train, generate; and everything a job can be asked."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.fine_tuning import FineTuningJob
from sqlalchemy import text, update

from storage import audit, base_models, checkpoints, outbox, run_claims, tuning_runs, voices, workers
from storage.models import TuningRun
from storage.run_claims import Claim
from storage.run_times import LEAST_ENDED
from tests.app.api.people import Api, Person, publish_random, write_samples
from tests.app.api.test_errors import error_of
from tests.app.api.test_files import send
from tests.factories import SAMPLE_TEXTS
from tests.tiny_model import save_tiny
from tests.tuning.runs import PIECES, QUICK
from tuning.config import TuningConfig
from tuning.tuning_job import tune
from tuning.workbench import Bench

ClientOf = Callable[[str], openai.OpenAI]
JOBS = "/v1/fine_tuning/jobs"
TRAINING = "".join(
    json.dumps(
        {"messages": [{"role": "user", "content": f"What of {number}?"}, {"role": "assistant", "content": piece}]}
    )
    + "\n"
    for number, piece in enumerate(PIECES)
).encode()


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("model"))


@pytest.fixture
def bench(api: Api, model_folder: Path) -> Bench:
    """A worker's, beside the API."""
    config = TuningConfig(base_model=str(model_folder), base_model_name=api.base.name, num_threads=1, lease_s=5)
    bench = Bench(api.storage, config, QUICK, worker="here:1", is_stopping=lambda: False)
    assert bench.base.fingerprint == api.base.fingerprint
    return bench


def create(api: Api, person: Person, **fields: Any) -> Any:
    """Ask for a job, by default of a new voice from a fresh file."""
    body = {"model": api.base.name, **fields}
    if "training_file" not in body:
        body["training_file"] = send(api, person).json["id"]
    return api.call(person, "POST", JOBS, json=body)


def job(api: Api, person: Person, job_id: str) -> Any:
    return api.call(person, "GET", f"{JOBS}/{job_id}").json


def claim(api: Api, job_id: str) -> Claim:
    with api.storage.database.session() as session:
        held = run_claims.claim(session, job_id, worker="hand", lease_s=60, max_attempts=3)
        assert held is not None
        run_claims.start_running(session, held, 100)
        return held


def voice_names(api: Api, person: Person) -> list[str]:
    with api.storage.database.reading() as session:
        return [voice.name for voice in voices.list_voices(session, person.user_id)]


def test_the_whole_loop_from_a_file_to_text_in_the_voice(
    api: Api, client_of: ClientOf, ann: Person, bench: Bench
) -> None:
    client = client_of(ann.key)
    file = client.files.create(file=("letters.jsonl", TRAINING), purpose="fine-tune")
    asked = client.fine_tuning.jobs.create(
        training_file=file.id, model=api.base.name, suffix="Letters", seed=3, metadata={"for": "tests"}
    )
    assert (asked.object, asked.status, asked.model, asked.seed) == ("fine_tuning.job", "queued", api.base.name, 3)
    assert (asked.training_file, asked.metadata, asked.result_files) == (file.id, {"for": "tests"}, [])
    assert (asked.fine_tuned_model, asked.trained_tokens, asked.error, asked.finished_at) == (None, None, None, None)
    assert client.fine_tuning.jobs.checkpoints.list(asked.id).data == []
    tune(bench, asked.id)
    done = client.fine_tuning.jobs.retrieve(asked.id)
    assert (done.status, done.error) == ("succeeded", None)
    assert done.trained_tokens is not None
    assert done.trained_tokens > 100
    assert done.finished_at is not None
    assert done.fine_tuned_model is not None
    assert voice_names(api, ann) == ["My voice", "Letters"]
    said = client.completions.create(model=done.fine_tuned_model, prompt="My day", max_tokens=8, temperature=0)
    assert said.to_dict()["idiolect"] == {"voice": done.fine_tuned_model, "version": 1, "strength": 1.0}
    (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(asked.id)
    assert checkpoint.fine_tuned_model_checkpoint == f"{done.fine_tuned_model}@1"
    again = client.completions.create(
        model=checkpoint.fine_tuned_model_checkpoint, prompt="My day", max_tokens=8, temperature=0
    )
    assert again.choices[0].text == said.choices[0].text
    assert checkpoint.fine_tuning_job_id == asked.id
    assert checkpoint.step_number > 0
    assert checkpoint.metrics.valid_loss is not None
    events = list(client.fine_tuning.jobs.list_events(asked.id, limit=5))
    assert [event.id for event in events] == sorted((event.id for event in events), key=int, reverse=True)
    assert {event.type for event in events} == {"message", "metrics"}
    assert events[0].message == "Published."
    assert "6 samples of the file were added." in [event.message for event in events]
    metrics = next(event.data for event in events if event.type == "metrics")
    assert isinstance(metrics, dict)
    assert metrics["step"] == 20
    again = client.fine_tuning.jobs.create(training_file=file.id, model=done.fine_tuned_model)
    assert again.to_dict()["idiolect"]["samples_skipped"] == 6  # type: ignore[index]
    assert [one.id for one in client.fine_tuning.jobs.list(limit=1)] == [again.id, asked.id], "two pages"
    client.fine_tuning.jobs.cancel(again.id)


def test_a_conversations_answers_become_samples_with_their_prompts(api: Api, ann: Person) -> None:
    file = send(api, ann, TRAINING).json["id"]
    made = create(api, ann, training_file=file).json
    assert made["idiolect"]["samples_added"] == 6
    listed = api.call(ann, "GET", f"/v1/voices/{made['idiolect']['voice']}/samples").json["data"]
    assert [sample["prompt"] for sample in listed] == [f"What of {number}?" for number in range(6)]
    assert voice_names(api, ann) == ["My voice", "My voice 2"]


def test_a_voice_is_given_what_it_has_not_yet(api: Api, ann: Person) -> None:
    for named in (ann.voice_id, "My voice"):
        data = "".join(json.dumps({"text": text_}) + "\n" for text_ in (*SAMPLE_TEXTS, *PIECES)).encode()
        write = send(api, ann, data).json["id"]
        if named == ann.voice_id:
            write_samples(api.storage, ann)
        made = create(api, ann, training_file=write, model=named).json
        assert made["model"] == made["idiolect"]["voice"] == ann.voice_id
        added = len(PIECES) if named == ann.voice_id else 0
        assert made["idiolect"]["samples_added"] == added
        assert made["idiolect"]["samples_skipped"] == len(SAMPLE_TEXTS) + len(PIECES) - added
        api.call(ann, "POST", f"{JOBS}/{made['id']}/cancel")
    assert voice_names(api, ann) == ["My voice"]


def test_the_same_job_asked_for_again_is_the_first_one(api: Api, ann: Person) -> None:
    file = send(api, ann).json["id"]
    first = create(api, ann, training_file=file, suffix="Diary", metadata={"a": "b"}).json
    with ThreadPoolExecutor(3) as pool:
        again = list(
            pool.map(lambda _: create(api, ann, training_file=file, suffix="Diary", metadata={"a": "b"}), range(3))
        )
    assert {answer.json["id"] for answer in again} == {first["id"]}
    assert voice_names(api, ann) == ["My voice", "Diary"]
    other = create(api, ann, training_file=file, suffix="Diary", metadata={"a": "c"})
    error = error_of(other, 409)
    assert "already have a voice" in error["message"]
    assert "as `model`" in error["message"]
    assert error["param"] == "suffix"


def test_jobs_asked_for_at_once_make_one_voice(api: Api, ann: Person) -> None:
    file = send(api, ann).json["id"]
    with ThreadPoolExecutor(4) as pool:
        asked = list(pool.map(lambda _: create(api, ann, training_file=file), range(4)))
    assert len({answer.json["id"] for answer in asked}) == 1
    assert voice_names(api, ann) == ["My voice", "My voice 2"]
    with api.storage.database.reading() as session:
        assert len([run_id for _, run_id in outbox.unsent(session, 1000) if run_id == asked[0].json["id"]]) == 1


def test_another_training_of_the_voice_is_a_409_and_adds_nothing(api: Api, ann: Person) -> None:
    write_samples(api.storage, ann)
    run = api.call(ann, "POST", f"/v1/voices/{ann.voice_id}/tuning_runs", json={}).json
    file = send(api, ann, TRAINING).json["id"]
    assert run["id"] in error_of(create(api, ann, training_file=file, model=ann.voice_id), 409)["message"]
    listed = api.call(ann, "GET", f"/v1/voices/{ann.voice_id}/samples").json["data"]
    assert len(listed) == len(SAMPLE_TEXTS)


def test_too_little_writing_is_a_400_and_leaves_no_voice(api: Api, ann: Person) -> None:
    file = send(api, ann, json.dumps({"text": SAMPLE_TEXTS[0]}).encode()).json["id"]
    assert error_of(create(api, ann, training_file=file), 400)["code"] == "invalid_sample"
    assert voice_names(api, ann) == ["My voice"]
    assert api.call(ann, "GET", JOBS).json["data"] == []


@pytest.mark.parametrize(
    ("fields", "param", "sentence"),
    [
        ({"hyperparameters": {"n_epochs": 3}}, "hyperparameters", "leave it out"),
        ({"hyperparameters": {"batch_size": 1}}, "hyperparameters", "leave it out"),
        ({"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}}, "method", "recipe"),
        ({"method": {"type": "dpo"}}, "method", "supervised"),
        ({"validation_file": "file-x"}, "validation_file", "held back"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, "integrations", "events"),
        ({"suffix": "x" * 65}, "suffix", "64"),
        ({"suffix": ""}, "suffix", "1 character"),
        ({"seed": -1}, "seed", "0"),
        ({"seed": "1"}, "seed", "integer"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata", "16"),
        ({"metadata": {"x" * 65: ""}}, "metadata", "64"),
        ({"metadata": {"x": "x" * 513}}, "metadata", "512"),
        ({"metadata": {"x": 1}}, "metadata", "string"),
        ({"colour": "red"}, "colour", "not permitted"),
    ],
)
def test_what_has_no_meaning_here_is_refused_in_a_sentence(
    api: Api, ann: Person, fields: dict[str, Any], param: str, sentence: str
) -> None:
    error = error_of(create(api, ann, training_file="file-x", **fields), 400)
    assert error["param"] == param
    assert sentence in error["message"]


def test_what_changes_nothing_is_taken(api: Api, client_of: ClientOf, ann: Person) -> None:
    made = client_of(ann.key).fine_tuning.jobs.create(
        training_file=send(api, ann).json["id"],
        model=api.base.name,
        hyperparameters={"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": "auto"}}},
        validation_file=None,
        integrations=None,
        suffix=None,
        seed=None,
        metadata=None,
    )
    assert made.hyperparameters.n_epochs == "auto"
    assert made.method is not None
    assert made.method.type == "supervised"


def test_unknown_models_and_files_and_a_name_for_a_named_voice_are_told_apart(
    api: Api, ann: Person, ben: Person
) -> None:
    theirs, mine = send(api, ben).json["id"], send(api, ann).json["id"]
    for file in (theirs, "file-unknown"):
        error = error_of(create(api, ann, training_file=file), 404)
        assert (error["code"], error["param"]) == ("file_not_found", "training_file")
        assert "GET /v1/files" in error["message"]
    for model in (ben.voice_id, "voice-unknown", "gpt-4o-mini"):
        error = error_of(create(api, ann, training_file=mine, model=model), 404)
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert api.base.name in error["message"]
    error = error_of(create(api, ann, training_file=mine, model=ann.voice_id, suffix="New"), 400)
    assert error["param"] == "suffix"


def test_a_job_is_cancelled_paused_and_resumed_as_often_as_a_client_asks(
    api: Api, client_of: ClientOf, ann: Person
) -> None:
    made = create(api, ann).json
    jobs = client_of(ann.key).fine_tuning.jobs
    for _ in range(2):
        assert jobs.pause(made["id"]).to_dict()["status"] == "paused"
    for _ in range(2):
        assert jobs.resume(made["id"]).status == "queued"
    jobs.pause(made["id"])
    for _ in range(2):
        assert jobs.cancel(made["id"]).status == "cancelled"
    for late in (jobs.pause, jobs.resume):
        with pytest.raises(openai.ConflictError) as refused:
            late(made["id"])
        assert refused.value.response.headers["x-should-retry"] == "false"
    with api.storage.database.reading() as session:
        trail = [event.action for event in audit.list_events(session, subject_id=made["id"])]
    assert trail == ["run.cancelled", "run.paused", "run.resumed", "run.paused", "run.requested"]


def test_a_waiting_job_says_when_it_will_have_ended_once_there_is_something_to_tell_it_from(
    api: Api, ann: Person
) -> None:
    for _ in range(LEAST_ENDED):
        held = claim(api, create(api, ann).json["id"])
        with api.storage.database.session() as session:
            run_claims.finish(session, held, state="succeeded", published=False)
    waiting = create(api, ann).json["id"]
    assert job(api, ann, waiting)["estimated_finish"] is None, "no worker lives"
    took = {"started_at": TuningRun.finished_at - 600, "base_fingerprint": api.base.fingerprint}
    with api.storage.database.session() as session:
        workers.beat(session, "idle")
        base_models.register(
            session, fingerprint=api.base.fingerprint, name="tiny", num_parameters=1, context_length=256, probe={}
        )
        session.execute(update(TuningRun).where(TuningRun.state == "succeeded").values(took))
    told = job(api, ann, waiting)
    assert told["status"] == "queued"
    trainings = told["idiolect"]["queue_position"]
    assert told["estimated_finish"] == pytest.approx(told["created_at"] + 600 * trainings, abs=60)
    with api.storage.database.session() as session:
        workers.forget(session, "idle")


def test_a_running_job_says_when_it_ends_and_pauses_by_its_worker(api: Api, ann: Person) -> None:
    made = create(api, ann).json
    held = claim(api, made["id"])
    with api.storage.database.session() as session:
        run_claims.record_progress(session, held, 7, {"step": 7, "train_loss": 2.0, "eta_seconds": 90.0})
        checkpoints.save_checkpoint(session, api.storage.keys, held, 7, b"state")
    running = job(api, ann, made["id"])
    assert running["status"] == "running"
    (newest,) = api.call(ann, "GET", f"{JOBS}/{made['id']}/events?limit=1").json["data"]
    assert running["estimated_finish"] == newest["created_at"] + 90
    assert (newest["object"], newest["type"], newest["data"]["step"]) == ("fine_tuning.job.event", "metrics", 7)
    assert api.call(ann, "POST", f"{JOBS}/{made['id']}/pause").json["status"] == "running", "not yet"
    with api.storage.database.session() as session:
        run_claims.stop(session, held)
    paused = job(api, ann, made["id"])
    assert (paused["status"], paused["estimated_finish"], paused["finished_at"]) == ("paused", None, None)
    assert api.call(ann, "POST", f"{JOBS}/{made['id']}/resume").json["status"] == "queued"


def test_a_job_that_published_nothing_has_failed_and_says_why(api: Api, ann: Person, bench: Bench) -> None:
    file = send(api, ann, TRAINING).json["id"]
    made = create(api, ann, training_file=file).json
    hardly = replace(QUICK, initialisation="random", learning_rate=1e-9, max_steps=1)
    tune(replace(bench, settings=hardly), made["id"])
    done = job(api, ann, made["id"])
    assert (done["status"], done["fine_tuned_model"]) == ("failed", None)
    assert done["error"]["code"] == "not_published"
    assert "more pieces help most" in done["error"]["message"]
    assert api.call(ann, "GET", f"{JOBS}/{made['id']}/checkpoints").json["data"] == []
    assert api.call(ann, "GET", f"/v1/tuning_runs/{made['id']}").json["state"] == "succeeded"


def test_a_failed_job_says_why(api: Api, ann: Person) -> None:
    made = create(api, ann).json
    held = claim(api, made["id"])
    with api.storage.database.session() as session:
        run_claims.finish(session, held, state="failed", error_code="diverged", error_message="Ask again.")
    done = FineTuningJob.model_validate(job(api, ann, made["id"]))
    assert (done.status, done.trained_tokens) == ("failed", None)
    assert done.error is not None
    assert (done.error.code, done.error.message) == ("diverged", "Ask again.")


def test_every_run_of_the_person_is_a_job(api: Api, client_of: ClientOf, ann: Person, ben: Person) -> None:
    publish_random(api, ann)
    (found,) = client_of(ann.key).fine_tuning.jobs.list()
    assert (found.status, found.fine_tuned_model, found.training_file) == ("succeeded", ann.voice_id, "")
    assert (found.model, found.metadata) == (api.base.name, None)
    (checkpoint,) = client_of(ann.key).fine_tuning.jobs.checkpoints.list(found.id)
    assert checkpoint.id.startswith("prefix-")
    assert client_of(ben.key).fine_tuning.jobs.list().data == []
    error_of(api.call(ben, "GET", f"{JOBS}?after={found.id}"), 404)
    error_of(api.call(ann, "GET", f"{JOBS}/{found.id}/events?after=x"), 404)
    error_of(api.call(ann, "GET", f"{JOBS}?limit=0"), 400)


def test_somebody_elses_job_is_not_there(api: Api, client_of: ClientOf, ann: Person, ben: Person) -> None:
    made = create(api, ann).json["id"]
    jobs = client_of(ben.key).fine_tuning.jobs
    asks: list[Callable[[str], object]] = [
        jobs.retrieve, jobs.cancel, jobs.pause, jobs.resume, jobs.list_events, jobs.checkpoints.list
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(openai.NotFoundError) as refused:
            ask(made)
        assert refused.value.code == "job_not_found"
    assert job(api, ann, made)["status"] == "queued"


def test_what_was_asked_for_lies_sealed_and_is_not_logged(
    api: Api, ann: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    made = create(api, ann, metadata={"about": "zanzibarquokka"}).json
    assert made["metadata"] == {"about": "zanzibarquokka"}
    with api.storage.database.session() as session:
        rows = session.execute(text("SELECT * FROM tuning_runs WHERE id = :id"), {"id": made["id"]}).all()
        events = tuning_runs.list_events(session, ann.user_id, made["id"])
    assert "zanzibarquokka" not in repr(rows) + repr([event.message for event in events]) + "".join(capsys.readouterr())


def test_a_job_stays_when_its_file_is_deleted(api: Api, ann: Person) -> None:
    file = send(api, ann).json["id"]
    made = create(api, ann, training_file=file).json
    assert api.call(ann, "DELETE", f"/v1/files/{file}").status_code == 200
    assert job(api, ann, made["id"])["training_file"] == file
    error_of(create(api, ann, training_file=file), 404)
