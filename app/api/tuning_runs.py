"""/v1/voices/{voice_id}/tuning_runs and /v1/tuning_runs: asking for a training, following it, pausing and stopping it.

A run is kept in the database before it is queued, so that a dead broker loses nothing: it starts when the broker is
back.
"""

from contextlib import ExitStack
from functools import partial
from typing import Any

from apiflask import APIBlueprint
from flask import Response, request
from sqlalchemy.orm import Session

from app.api import schemas
from app.api.idempotency import idempotent, keep
from app.api.paging import unknown_after
from app.api.run_events import RunEvents, shown_event
from app.api.server_sent_events import event_stream, follow
from app.api.services import caller, services
from app.auth import still_proves
from storage import models, tuning_runs, voices
from storage.errors import NotFound
from tuning.celery_app import enqueue_tuning

of_voice = APIBlueprint("voice_runs", __name__, url_prefix="/v1/voices/<voice_id>/tuning_runs", tag="Training")
blueprint = APIBlueprint("tuning_runs", __name__, url_prefix="/v1/tuning_runs", tag="Training")
_UNDER_WAY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The one that is under way already",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/TuningRun"}}},
    }
}


@of_voice.get("")
@of_voice.input(schemas.Page, location="query", arg_name="page")
@of_voice.output(schemas.TuningRunList)
def list_runs(voice_id: str, page: schemas.Page) -> schemas.TuningRunList:
    """List a voice's trainings, newest first."""
    with services().storage.database.reading() as session:
        voices.get_voice(session, caller().user_id, voice_id)
        found = _page(session, voice_id, page)
        data = [shown(session, run) for run in found[: page.limit]]
    return schemas.TuningRunList(data=data, has_more=len(found) > page.limit)


@of_voice.post("")
@of_voice.input(schemas.NewRun, arg_name="body", example={"seed": 0})
@of_voice.output(schemas.TuningRun, status_code=202)
@of_voice.doc(responses=_UNDER_WAY)
@idempotent
def create_run(voice_id: str, body: schemas.NewRun) -> tuple[schemas.TuningRun, int]:
    """Train a voice on its included samples. While a run of this voice is live, that one is the answer (200)."""
    with services().storage.database.session() as session:
        run, created = tuning_runs.request_run(session, user_id=caller().user_id, voice_id=voice_id, seed=body.seed)
        answer = keep(session, shown(session, run), 202 if created else 200)
    if created:
        enqueue_tuning(run.id)  # the outbox sends it again should the broker be away
    return answer


@blueprint.get("/<run_id>")
@blueprint.output(schemas.TuningRun)
def get_run(run_id: str) -> schemas.TuningRun:
    """Look at a training."""
    with services().storage.database.reading() as session:
        return shown(session, tuning_runs.get_run(session, caller().user_id, run_id))


@blueprint.get("/<run_id>/events")
@blueprint.input(schemas.EventQuery, location="query", arg_name="query")
@blueprint.output(schemas.TuningEventList)
def list_events(run_id: str, query: schemas.EventQuery) -> schemas.TuningEventList | Response:
    """List what happened in a training, or follow it as server-sent events (stream=true)."""
    user_id = caller().user_id
    if query.stream:
        after = max(query.after, _last_event_id())  # a browser that comes back asks at the same URL
        return _followed(RunEvents(services().storage, user_id, run_id, after), user_id)
    with services().storage.database.reading() as session:
        found = tuning_runs.list_events(session, user_id, run_id, after=query.after, limit=query.limit + 1)
        data = [shown_event(event) for event in found[: query.limit]]
    return schemas.TuningEventList(data=data, has_more=len(found) > query.limit)


@blueprint.post("/<run_id>/cancel")
@blueprint.output(schemas.TuningRun)
def cancel_run(run_id: str) -> schemas.TuningRun:
    """Stop a training: at once while it waits, within a few steps once it runs."""
    user_id = caller().user_id
    with services().storage.database.session() as session:
        tuning_runs.cancel_run(session, user_id=user_id, run_id=run_id, actor_id=user_id)
        return shown(session, tuning_runs.get_run(session, user_id, run_id))


@blueprint.post("/<run_id>/pause")
@blueprint.output(schemas.TuningRun)
def pause_run(run_id: str) -> schemas.TuningRun:
    """Pause a training: at once while it waits, within a few steps once it runs. What was trained so far is kept."""
    user_id = caller().user_id
    with services().storage.database.session() as session:
        tuning_runs.pause_run(session, user_id=user_id, run_id=run_id, actor_id=user_id)
        return shown(session, tuning_runs.get_run(session, user_id, run_id))


@blueprint.post("/<run_id>/resume")
@blueprint.output(schemas.TuningRun)
def resume_run(run_id: str) -> schemas.TuningRun:
    """Let a paused training go on from where it was."""
    resumed(run_id)
    with services().storage.database.reading() as session:
        return shown(session, tuning_runs.get_run(session, caller().user_id, run_id))


def resumed(run_id: str) -> None:
    """Resume a run of the caller's and send its message; the outbox sends it again should the broker be away."""
    user_id = caller().user_id
    with services().storage.database.session() as session:
        _, queued = tuning_runs.resume_run(session, user_id=user_id, run_id=run_id, actor_id=user_id)
    if queued:
        enqueue_tuning(run_id)


def shown(session: Session, run: models.TuningRun) -> schemas.TuningRun:
    """A run as the API shows it."""
    failed = run.error_code is not None
    return schemas.TuningRun(
        id=run.id,
        voice=run.voice_id,
        state=run.state,
        step=run.step,
        max_steps=run.max_steps,
        seed=run.seed,
        continues_version=run.continues_version,
        cancel_requested=run.cancel_requested,
        pause_requested=run.pause_requested,
        created_at=int(run.created_at),
        started_at=None if run.started_at is None else int(run.started_at),
        finished_at=None if run.finished_at is None else int(run.finished_at),
        published=run.published,
        figures=run.figures,
        error=schemas.RunError(code=run.error_code or "", message=run.error_message or "") if failed else None,
        queue_position=tuning_runs.queue_position(session, run.id),
    )


def _page(session: Session, voice_id: str, page: schemas.Page) -> list[models.TuningRun]:
    """One more than the page holds, if there is one."""
    try:
        return tuning_runs.list_runs(session, caller().user_id, voice_id, after=page.after, limit=page.limit + 1)
    except NotFound as unknown:
        raise unknown_after() from unknown


def _followed(events: RunEvents, user_id: str) -> Response:
    """The events as they come; the person's seat is given back when the answer is closed."""
    still_welcome = partial(still_proves, services().storage, request.headers.get("Authorization"))
    with ExitStack() as held:
        held.enter_context(services().event_streams.one(user_id))
        response = event_stream(follow(events, request.environ, services().stopping, still_welcome))
        response.call_on_close(held.pop_all().close)
    return response


def _last_event_id() -> int:
    """Where a browser's EventSource left off."""
    sent = request.headers.get("Last-Event-ID", "")
    return int(sent) if sent.isascii() and sent.isdigit() and len(sent) < 16 else 0
