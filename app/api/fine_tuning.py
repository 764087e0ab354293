"""/v1/fine_tuning/jobs: trainings in the words of OpenAI's clients. A job is a tuning run, and every run is a job."""

from typing import Any

from apiflask import APIBlueprint
from sqlalchemy.orm import Session

from app.api import fine_tuning_schemas as jobs
from app.api import schemas
from app.api.errors import NO_RETRY, ApiError, missing, refused
from app.api.idempotency import idempotent, keep
from app.api.paging import page_of, unknown_after
from app.api.run_events import event_fields
from app.api.services import caller, services
from app.api.tuning_runs import resumed
from storage import fine_tuning, models, run_times, tuning_runs, uploads, voices
from storage.errors import Conflict, NameTaken, NotFound
from storage.fine_tuning import JobRequest
from storage.models import ENDED_STATES, RunState
from storage.training_file import read_training_file
from tuning.celery_app import enqueue_tuning

blueprint = APIBlueprint("fine_tuning", __name__, url_prefix="/v1/fine_tuning/jobs", tag="Fine-tuning")
# training_file has no example id that is anybody's; the model is filled in with the base model's name
EXAMPLE = {"training_file": "file-…", "model": "voice-…", "seed": 0}
STATUS: dict[RunState, Any] = {"leased": "running", "committing": "running"}
_UNPUBLISHED = (
    "It was trained, and would not have helped: the voice was no closer to the writing held back than before."
)


@blueprint.post("")
@blueprint.input(jobs.NewJob, arg_name="body", example=EXAMPLE)
@blueprint.output(jobs.Job)
@idempotent
def create_job(body: jobs.NewJob) -> tuple[jobs.Job, int]:
    """Train a voice on a file: a new one from the base model, or one of yours with the file's samples added."""
    storage, user_id = services().storage, caller().user_id
    with storage.database.reading() as session:
        voice = _voice(session, body)
        data = _content(session, body.training_file)
    asked = JobRequest(body.training_file, voice.id if voice else body.model, body.suffix, body.metadata)
    with services().uploads.one(user_id):
        drafts = read_training_file(data)
    try:
        with storage.database.session() as session:
            run, created = fine_tuning.request_job(
                session,
                storage.keys,
                user_id=user_id,
                voice_id=voice.id if voice else None,
                asked=asked,
                drafts=drafts,
                seed=body.seed or 0,
            )
            answer = keep(session, _shown(session, run), 200)
    except NameTaken as taken:
        message = f"{taken} Or go on with that one: name its id, voice-…, as `model`, and leave `suffix` out."
        raise ApiError(409, message, code="conflict", param="suffix", headers=NO_RETRY) from taken
    if created:
        enqueue_tuning(run.id)  # the outbox sends it again should the broker be away
    return answer


@blueprint.get("")
@blueprint.input(schemas.Page, location="query", arg_name="page")
@blueprint.output(jobs.JobList)
def list_jobs(page: schemas.Page) -> jobs.JobList:
    """List your trainings, newest first."""
    with services().storage.database.reading() as session:
        try:
            found = tuning_runs.list_runs(session, caller().user_id, after=page.after, limit=page.limit + 1)
        except NotFound as unknown:
            raise unknown_after() from unknown
        data = [_shown(session, run) for run in found[: page.limit]]
    return jobs.JobList(data=data, has_more=len(found) > page.limit)


@blueprint.get("/<job_id>")
@blueprint.output(jobs.Job)
def get_job(job_id: str) -> jobs.Job:
    """Look at a training."""
    return _job(job_id)


@blueprint.post("/<job_id>/cancel")
@blueprint.output(jobs.Job)
def cancel_job(job_id: str) -> jobs.Job:
    """Stop a training: at once while it waits, within a few steps once it runs. One that is cancelled stays so."""
    user_id = caller().user_id
    try:
        with services().storage.database.session() as session:
            tuning_runs.cancel_run(session, user_id=user_id, run_id=job_id, actor_id=user_id)
    except Conflict:
        if (cancelled := _job(job_id)).status != "cancelled":
            raise
        return cancelled
    return _job(job_id)


@blueprint.post("/<job_id>/pause")
@blueprint.output(jobs.Job)
def pause_job(job_id: str) -> jobs.Job:
    """Pause a training: at once while it waits, within a few steps once it runs. What was trained so far is kept."""
    user_id = caller().user_id
    with services().storage.database.session() as session:
        tuning_runs.pause_run(session, user_id=user_id, run_id=job_id, actor_id=user_id)
    return _job(job_id)


@blueprint.post("/<job_id>/resume")
@blueprint.output(jobs.Job)
def resume_job(job_id: str) -> jobs.Job:
    """Let a paused training go on from where it was."""
    resumed(job_id)
    return _job(job_id)


@blueprint.get("/<job_id>/events")
@blueprint.input(schemas.Page, location="query", arg_name="page")
@blueprint.output(jobs.JobEventList)
def list_job_events(job_id: str, page: schemas.Page) -> jobs.JobEventList:
    """List what happened in a training, newest first."""
    before = None if page.after is None else _event_number(page.after)
    with services().storage.database.reading() as session:
        found = tuning_runs.list_newest_events(session, caller().user_id, job_id, before=before, limit=page.limit + 1)
        data = [jobs.JobEvent(**event_fields(event)) for event in found[: page.limit]]
    return jobs.JobEventList(data=data, has_more=len(found) > page.limit)


@blueprint.get("/<job_id>/checkpoints")
@blueprint.input(schemas.Page, location="query", arg_name="page")
@blueprint.output(jobs.CheckpointList)
def list_job_checkpoints(job_id: str, page: schemas.Page) -> jobs.CheckpointList:
    """The version that a training has published, with how it did on writing it was not trained on."""
    with services().storage.database.reading() as session:
        run = tuning_runs.get_run(session, caller().user_id, job_id)
        made = [_checkpoint(voices.published_by(session, run.user_id, run.id))] if run.published else []
    part, has_more = page_of(made, page)
    ids = [checkpoint.id for checkpoint in part]
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    return jobs.CheckpointList(data=list(part), first_id=first, last_id=last, has_more=has_more)


def _voice(session: Session, body: jobs.NewJob) -> models.Voice | None:
    if body.model == services().base.name:
        return None
    try:
        voice = fine_tuning.find_voice(session, caller().user_id, body.model)
    except NotFound as unknown:
        hint = f"Name the base model, {services().base.name}, or one of your voices; GET /v1/models lists them."
        raise missing("model", param="model", hint=hint) from unknown
    if body.suffix is not None:
        raise refused("suffix: it names a new voice, and this job goes on with one that has a name", param="suffix")
    return voice


def _content(session: Session, file_id: str) -> bytes:
    try:
        return uploads.read_upload(session, services().storage.keys, caller().user_id, file_id)
    except NotFound as unknown:
        raise missing("file", param="training_file", hint="GET /v1/files lists yours.") from unknown


def _event_number(after: str) -> int:
    if not (after.isascii() and after.isdigit() and len(after) < 16):
        raise unknown_after()
    return int(after)


def _job(run_id: str) -> jobs.Job:
    with services().storage.database.reading() as session:
        return _shown(session, tuning_runs.get_run(session, caller().user_id, run_id))


def _shown(session: Session, run: models.TuningRun) -> jobs.Job:
    asked = fine_tuning.read_job(services().storage.keys, run)
    ended = run.state in ENDED_STATES
    error = _error(run)
    return jobs.Job(
        id=run.id,
        created_at=int(run.created_at),
        finished_at=None if run.finished_at is None else int(run.finished_at),
        estimated_finish=run_times.estimated_finish(session, run),
        status="failed" if error else STATUS.get(run.state, run.state),
        error=error,
        model=asked.model if asked else services().base.name,
        fine_tuned_model=run.voice_id if run.published else None,
        training_file=asked.training_file if asked else "",
        result_files=[],
        trained_tokens=run.figures.get("train_tokens") if ended else None,
        seed=run.seed,
        integrations=[],
        metadata=asked.metadata if asked else None,
        user_provided_suffix=asked.suffix if asked else None,
        organization_id=run.user_id,
        idiolect=jobs.JobDetails(
            voice=run.voice_id,
            samples_added=asked.samples_added if asked else None,
            samples_skipped=asked.samples_skipped if asked else None,
            queue_position=tuning_runs.queue_position(session, run.id),
        ),
    )


def _error(run: models.TuningRun) -> jobs.JobError | None:
    """A client takes `succeeded` to mean that there is a model to use."""
    if run.error_code is not None:
        return jobs.JobError(code=run.error_code, message=run.error_message or "")
    if run.state == "succeeded" and not run.published:
        return jobs.JobError(code="not_published", message=run.figures.get("reason") or _UNPUBLISHED)
    return None


def _checkpoint(version: models.PrefixVersion) -> jobs.Checkpoint:
    figures = version.figures
    loss = figures.get("voice_bits_per_char")
    return jobs.Checkpoint(
        id=version.id,
        created_at=int(version.created_at),
        fine_tuned_model_checkpoint=f"{version.voice_id}@{version.version}",  # the voice alone would be its newest
        fine_tuning_job_id=version.run_id,
        step_number=figures.get("best_step") or 0,
        metrics=jobs.CheckpointMetrics(step=figures.get("best_step"), valid_loss=loss, full_valid_loss=loss),
    )
