"""Tuning runs as their owners and administrators see them: asking, reading, pausing, cancelling, asking again.

What a worker does with a run is storage.run_claims'. A `user_id` of None is an administrator, who sees every run.
"""

from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, func, not_, or_, select, update
from sqlalchemy.exc import IntegrityError as RowExists
from sqlalchemy.orm import Session

from storage import audit, clock, notices, outbox, paging, quotas, samples, voices
from storage.errors import Conflict, InvalidSample, NotFound
from storage.ids import new_id
from storage.models import (
    CLAIMED_STATES,
    ENDED_STATES,
    LIVE_STATES,
    RunState,
    TuningCheckpoint,
    TuningEvent,
    TuningRun,
    Voice,
)
from storage.run_claims import PAUSED

UNCLAIMED_STATES: tuple[RunState, ...] = ("queued", "paused")


def request_run(session: Session, *, user_id: str, voice_id: str, seed: int = 0) -> tuple[TuningRun, bool]:
    """Ask for a training of the voice's included samples: (the run, whether it is new).

    While a run of the voice is live that one is the answer, also to two who ask at once. The new run's message is in
    the outbox: send it after the commit. Raises NotFound, InvalidSample (not enough text; says how much more),
    LimitReached (as many as the account may have are live).
    """
    return _request(session, user_id, voice_id, seed, actor_id=user_id)


def request_run_for(session: Session, voice_id: str, actor_id: str) -> tuple[TuningRun, bool]:
    """As request_run, by an administrator for the voice's owner. Raises NotFound, InvalidSample."""
    owner = session.scalar(select(Voice.user_id).where(Voice.id == voice_id))
    if owner is None:
        raise NotFound("no such voice")
    return _request(session, owner, voice_id, 0, actor_id=actor_id)


def get_run(session: Session, user_id: str | None, run_id: str) -> TuningRun:
    """One run, as it is now. Raises NotFound."""
    wanted = select(TuningRun).where(TuningRun.id == run_id).execution_options(populate_existing=True)
    run = session.scalar(wanted if user_id is None else wanted.where(TuningRun.user_id == user_id))
    if run is None:
        raise NotFound("no such tuning run")
    return run


def list_runs(
    session: Session, user_id: str, voice_id: str | None = None, after: str | None = None, limit: int = 20
) -> list[TuningRun]:
    """The person's runs, newest first; `after` is the last id of the page before. Raises NotFound."""
    wanted = select(TuningRun).where(TuningRun.user_id == user_id)
    if voice_id is not None:
        voices.get_voice(session, user_id, voice_id)
        wanted = wanted.where(TuningRun.voice_id == voice_id)
    if after is not None:
        last = get_run(session, user_id, after)
        wanted = wanted.where(paging.after(TuningRun.created_at, TuningRun.id, last.created_at, last.id))
    return list(session.scalars(wanted.order_by(TuningRun.created_at.desc(), TuningRun.id.desc()).limit(limit)))


def list_all_runs(
    session: Session,
    *,
    state: RunState | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[TuningRun]:
    """Everybody's runs for the console, newest first. Raises NotFound for an unknown `after`."""
    wanted = select(TuningRun)
    if state is not None:
        wanted = wanted.where(TuningRun.state == state)
    if after is not None:
        last = get_run(session, None, after)
        wanted = wanted.where(paging.after(TuningRun.created_at, TuningRun.id, last.created_at, last.id))
    return list(session.scalars(wanted.order_by(TuningRun.created_at.desc(), TuningRun.id.desc()).limit(limit)))


def list_events(
    session: Session, user_id: str | None, run_id: str, after: int = 0, limit: int = 100
) -> list[TuningEvent]:
    """What happened in a run, oldest first, from the event after the id `after`. Raises NotFound."""
    get_run(session, user_id, run_id)
    wanted = select(TuningEvent).where(TuningEvent.run_id == run_id, TuningEvent.id > after)
    return list(session.scalars(wanted.order_by(TuningEvent.id).limit(limit)))


def list_newest_events(
    session: Session, user_id: str, run_id: str, before: int | None = None, limit: int = 100
) -> list[TuningEvent]:
    """What happened in a run, newest first, from the event before the id `before`. Raises NotFound."""
    get_run(session, user_id, run_id)
    wanted = select(TuningEvent).where(TuningEvent.run_id == run_id)
    if before is not None:
        wanted = wanted.where(TuningEvent.id < before)
    return list(session.scalars(wanted.order_by(TuningEvent.id.desc()).limit(limit)))


def queue_position(session: Session, run_id: str) -> int | None:
    """1: the next to be claimed. None: the run is not waiting (or is unknown)."""
    mine = session.execute(
        select(TuningRun.created_at, TuningRun.id).where(TuningRun.id == run_id, TuningRun.state == "queued")
    ).one_or_none()
    if mine is None:
        return None
    earlier = or_(
        TuningRun.created_at < mine.created_at, and_(TuningRun.created_at == mine.created_at, TuningRun.id < mine.id)
    )
    ahead = select(func.count()).select_from(TuningRun).where(TuningRun.state == "queued", earlier)
    return 1 + (session.scalar(ahead) or 0)


def cancel_run(session: Session, *, user_id: str | None, run_id: str, actor_id: str | None) -> TuningRun:
    """Stop a run: at once while it waits, else its worker stops between two steps and publishes nothing.

    Raises NotFound, Conflict when it has ended. A cancel and a publication at the same moment: exactly one wins.
    """
    get_run(session, user_id, run_id)
    waiting = TuningRun.state.in_(UNCLAIMED_STATES)
    asked = session.execute(
        update(TuningRun)
        .where(TuningRun.id == run_id, TuningRun.state.in_(LIVE_STATES))
        .values(
            cancel_requested=True,
            pause_requested=False,
            finished_at=case((waiting, clock.now()), else_=TuningRun.finished_at),
            published=case((waiting, False), else_=TuningRun.published),
            state=case((waiting, "cancelled"), else_=TuningRun.state),
        )
        .returning(TuningRun.id)
        .execution_options(synchronize_session=False)
    ).all()
    run = get_run(session, user_id, run_id)
    if not asked:
        raise _too_late(run, "cancel")
    at_once = run.state == "cancelled"
    if at_once:
        outbox.settle(session, run_id)
        session.execute(delete(TuningCheckpoint).where(TuningCheckpoint.run_id == run_id))
        notices.announce_end(session, run.user_id, run_id)
    tell(session, run, "Cancelled." if at_once else "Asked to stop; it ends within a few steps.")
    audit.record(session, "run.cancelled" if at_once else "run.cancel_requested", actor_id=actor_id, subject_id=run_id)
    return run


def pause_run(session: Session, *, user_id: str | None, run_id: str, actor_id: str | None) -> TuningRun:
    """Put a run aside with its checkpoint: at once while it waits, else its worker stops between two steps. One that is
    paused, or about to be, stays so.

    Raises NotFound, Conflict when it has ended or is being cancelled. A pause and a publication at the same moment:
    exactly one wins.
    """
    get_run(session, user_id, run_id)
    waiting, state = TuningRun.state == "queued", TuningRun.state
    change = {"state": case((waiting, "paused"), else_=state), "pause_requested": case((waiting, False), else_=True)}
    asked = _change(session, run_id, and_(state.in_(("queued", *CLAIMED_STATES)), _unasked()), change)
    run = get_run(session, user_id, run_id)
    if not asked:
        if run.state == "paused" or (run.pause_requested and run.state not in ENDED_STATES):
            return run
        raise _too_late(run, "pause")
    at_once = run.state == "paused"
    if at_once:
        outbox.settle(session, run_id)
    tell(session, run, PAUSED if at_once else "Asked to pause; it stops within a few steps.")
    audit.record(session, "run.paused" if at_once else "run.pause_requested", actor_id=actor_id, subject_id=run_id)
    return run


def resume_run(session: Session, *, user_id: str | None, run_id: str, actor_id: str | None) -> tuple[TuningRun, bool]:
    """Let a paused run go on from its checkpoint, behind whoever asked before: (the run, whether it is in the queue
    again). Its message is then in the outbox: send it after the commit. A pause that no worker has heeded yet is taken
    back. One that goes on already, does.

    Raises NotFound, Conflict when it has ended or is being cancelled.
    """
    get_run(session, user_id, run_id)
    queued = _change(session, run_id, TuningRun.state == "paused", {"state": "queued"})
    if queued:
        outbox.add(session, run_id)
    heeded_not_yet = and_(TuningRun.pause_requested.is_(True), TuningRun.state.in_(CLAIMED_STATES))
    taken_back = not queued and _change(session, run_id, heeded_not_yet, {"pause_requested": False})
    run = get_run(session, user_id, run_id)
    if queued or taken_back:
        tell(session, run, "Resumed: waiting for a worker." if queued else "Resumed before it had paused.")
        audit.record(session, "run.resumed", actor_id=actor_id, subject_id=run_id)
    elif run.state in ENDED_STATES or run.cancel_requested:
        raise _too_late(run, "resume")
    return run, queued


def retry_run(session: Session, run_id: str, actor_id: str | None) -> TuningRun:
    """A new run of the same voice and seed, over its samples of now. Raises NotFound, Conflict (the run, or another of
    the voice, is live), InvalidSample."""
    ended = get_run(session, None, run_id)
    if ended.state not in ENDED_STATES:
        raise Conflict("This training is still going on: cancel it first, or wait.")
    run, created = _request(session, ended.user_id, ended.voice_id, ended.seed, actor_id=actor_id)
    if not created:
        raise Conflict(f"Another training of this voice is going on: {run.id}.")
    audit.record(session, "run.retried", actor_id=actor_id, subject_id=run.id, of=run_id)
    return run


def _request(
    session: Session, user_id: str, voice_id: str, seed: int, *, actor_id: str | None
) -> tuple[TuningRun, bool]:
    voices.get_voice(session, user_id, voice_id)
    live = _live_run(session, voice_id)
    if live is not None:
        return live, False
    readiness = samples.readiness(session, user_id, voice_id)
    if not readiness.enough:
        raise InvalidSample(readiness.sentence)
    if actor_id == user_id:  # an administrator who asks for somebody knows what they ask for
        quotas.require(session, user_id, "runs")
    run = TuningRun(
        id=new_id("run"),
        user_id=user_id,
        voice_id=voice_id,
        state="queued",
        sample_ids=samples.included_ids(session, user_id, voice_id),
        seed=seed,
        figures={},
        created_at=clock.now(),
    )
    return _queue(session, run, actor_id)


def _unasked() -> ColumnElement[bool]:
    return and_(not_(TuningRun.cancel_requested), not_(TuningRun.pause_requested))


def _change(session: Session, run_id: str, if_: ColumnElement[bool], change: dict[str, Any]) -> bool:
    """One conditional write, so that of two at the same moment the later sees what the first did."""
    written = update(TuningRun).where(TuningRun.id == run_id, if_).values(**change).returning(TuningRun.id)
    return bool(session.execute(written.execution_options(synchronize_session=False)).all())


def _too_late(run: TuningRun, to_do: str) -> Conflict:
    if run.state in ENDED_STATES:
        return Conflict(f"This training has ended already ({run.state}), so there is nothing to {to_do}.")
    return Conflict(f"This training is being cancelled, so there is nothing to {to_do}.")


def _live_run(session: Session, voice_id: str) -> TuningRun | None:
    return session.scalar(select(TuningRun).where(TuningRun.voice_id == voice_id, TuningRun.state.in_(LIVE_STATES)))


def _queue(session: Session, run: TuningRun, actor_id: str | None) -> tuple[TuningRun, bool]:
    try:
        with session.begin_nested():
            session.add(run)
    except RowExists:  # somebody asked in the same moment: one live run a voice
        live = _live_run(session, run.voice_id)
        if live is None:
            raise Conflict("Another training of this voice has just ended: ask again.") from None
        return live, False
    outbox.add(session, run.id)
    tell(session, run, f"Waiting for a worker, with {len(run.sample_ids)} samples.")
    audit.record(session, "run.requested", actor_id=actor_id, subject_id=run.id)
    return run, True


def tell(session: Session, run: TuningRun, message: str) -> None:
    """A sentence for the person whose run it is."""
    event = TuningEvent(
        run_id=run.id, user_id=run.user_id, at=clock.now(), level="info", type="message", message=message, data={}
    )
    session.add(event)
    session.flush()
