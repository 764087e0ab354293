"""A worker's hold on a tuning run: claim, lease, fence, and every write that is allowed under them.

The run's row is the truth and the queue only carries its id. A claim raises the fence; every later write names the
fence it was claimed under, so a worker that was given up for dead can write nothing. Knows no torch and no queue.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Update, and_, case, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from storage import audit, clock, notices, outbox
from storage.errors import Conflict, LostLease, RunCancelled, RunPaused
from storage.models import CLAIMED_STATES, Maintenance, RunState, TuningCheckpoint, TuningEvent, TuningRun

EndState = Literal["succeeded", "failed", "cancelled"]
Level = Literal["info", "warn", "error"]
Asked = Literal["cancel", "pause"]  # of a worker, by whoever may; a cancel takes the place of a pause
GAVE_UP = "gave_up"
PAUSED = "Paused: it goes on from here when you resume it."
_ASKED = (TuningRun.cancel_requested, TuningRun.pause_requested)


@dataclass(frozen=True)
class Claim:
    """What one worker holds. `fence` is the number that all its writes carry."""

    run_id: str
    user_id: str
    voice_id: str
    fence: int
    sample_ids: tuple[str, ...]
    seed: int
    attempts: int
    continues_version: int | None = None


def claim(session: Session, run_id: str, *, worker: str, lease_s: float, max_attempts: int) -> Claim | None:
    """Take a queued run, or one whose lease has run out, for lease_s seconds. None: there is nothing to do, or
    maintenance keeps it waiting.

    A run that was cancelled meanwhile ends here, one to be paused is put aside, and one claimed more than max_attempts
    times ends as failed.
    """
    at = clock.now()
    expired = and_(TuningRun.state.in_(CLAIMED_STATES), TuningRun.lease_until < at)
    taken = session.execute(
        _quietly(update(TuningRun))
        .where(TuningRun.id == run_id, or_(TuningRun.state == "queued", expired), ~exists().select_from(Maintenance))
        .values(
            state="leased",
            fence=TuningRun.fence + 1,
            attempts=TuningRun.attempts + 1,
            lease_until=at + lease_s,
            worker=worker,
            started_at=func.coalesce(TuningRun.started_at, at),
        )
        .returning(
            TuningRun.user_id,
            TuningRun.voice_id,
            TuningRun.fence,
            TuningRun.sample_ids,
            TuningRun.seed,
            TuningRun.attempts,
            TuningRun.continues_version,
            *_ASKED,
        )
    ).one_or_none()
    if taken is None:
        return None
    held = Claim(
        run_id=run_id,
        user_id=taken.user_id,
        voice_id=taken.voice_id,
        fence=taken.fence,
        sample_ids=tuple(taken.sample_ids),
        seed=taken.seed,
        attempts=taken.attempts,
        continues_version=taken.continues_version,
    )
    outbox.settle(session, run_id)
    if _asked(taken):
        stop(session, held)
        return None
    if held.attempts > max_attempts:
        _give_up(session, held, max_attempts)
        return None
    again = f"Going on after an interruption (attempt {held.attempts})."
    _tell(session, held, again if held.attempts > 1 else "A worker has taken the run.")
    return held


def claim_next(
    session: Session, *, worker: str, lease_s: float, max_attempts: int, beside: Collection[str] = ()
) -> Claim | None:
    """Take the run that has waited longest, of people who are not in `beside` if there are any such. None: none waits,
    or others were quicker. Runs that were interrupted before are left to be taken by themselves: what ended their
    worker must not end others with it."""
    again = TuningRun.user_id.in_(beside)
    waiting = select(TuningRun.id).where(TuningRun.state == "queued", TuningRun.attempts == 0)
    for run_id in session.scalars(waiting.order_by(again, TuningRun.created_at, TuningRun.id).limit(4)).all():
        if held := claim(session, run_id, worker=worker, lease_s=lease_s, max_attempts=max_attempts):
            return held
    return None


def start_running(
    session: Session,
    held: Claim,
    max_steps: int,
    continues_version: int | None = None,
    base_fingerprint: str | None = None,
) -> None:
    """Training begins, for at most max_steps steps, from a version of the voice or anew, on this base model. Raises
    LostLease."""
    on = {"continues_version": continues_version, "base_fingerprint": base_fingerprint}
    _write(session, held, state="running", max_steps=max_steps, **on)


def heartbeat(session: Session, held: Claim, lease_s: float) -> Asked | None:
    """A sign of life: the lease lasts lease_s seconds from now. What the owner wants of the run: the worker then stops
    between two steps and calls `stop`. Raises LostLease."""
    return _write(session, held, lease_until=clock.now() + lease_s)


def record_progress(
    session: Session, held: Claim, step: int, metrics: dict[str, Any], message: str = "", level: Level = "info"
) -> None:
    """Where training is: the step, and an event of type metrics (or a bare message when there are none).
    Raises LostLease."""
    _write(session, held, step=step)
    _tell(session, held, message or f"Step {step}", finite(metrics), level)


def hold(session: Session, held: Claim) -> Asked | None:
    """Prove that the claim still stands, and keep it so until this transaction ends. What the owner has asked for;
    nobody can ask from here to the transaction's end. Raises LostLease."""
    return _write(session, held, worker=TuningRun.worker)


def stop(session: Session, held: Claim) -> None:
    """Do what was asked for, as it stands now: cancelled, the run ends; paused, it is put aside with its checkpoint and
    counts no attempt. The owner who has thought better of a pause finds it in the queue. Raises LostLease."""
    match hold(session, held):
        case "cancel":
            finish(session, held, state="cancelled")
        case "pause":
            _put_aside(session, held, held.attempts - 1)
        case None:
            _give_back(session, held, held.attempts - 1, "Not paused after all; the run waits for a worker.")


def release(session: Session, held: Claim) -> None:
    """Give the run back unharmed because this worker is stopping: it is queued again and goes on from its checkpoint.
    Does not count as an attempt. Raises LostLease."""
    _give_back(session, held, held.attempts - 1, "The worker is stopping; the run waits for the next one.")


def set_apart(session: Session, held: Claim) -> None:
    """Give the run back because something broke among several that were trained together: it is queued again, goes on
    from its checkpoint, and counts as interrupted, so that it is trained by itself. Raises LostLease."""
    _give_back(session, held, held.attempts, "Something broke beside it; the run waits to be trained by itself.")


def finish(
    session: Session,
    held: Claim,
    *,
    state: EndState,
    published: bool | None = None,
    figures: dict[str, Any] | None = None,
    error_code: str | None = None,
    error_message: str | None = None,
) -> None:
    """End the run and delete its checkpoint. A run that succeeded without publishing has published=False.
    Raises LostLease."""
    _end(session, held, state, published, figures, error_code, error_message)


def finish_published(session: Session, held: Claim, figures: dict[str, Any]) -> None:
    """End the run as published, in the transaction that publishes. Raises RunCancelled, RunPaused (the caller must then
    `stop` it), LostLease."""
    match hold(session, held):
        case "cancel":
            raise RunCancelled("the run was cancelled before it could publish")
        case "pause":
            raise RunPaused("the run was paused before it could publish")
    _end(session, held, "succeeded", True, figures, None, None)


def has_succeeded(session: Session, held: Claim) -> bool:
    """Whether the run has ended well under this very claim: for a worker whose commit was never answered."""
    mine = (TuningRun.id == held.run_id, TuningRun.fence == held.fence, TuningRun.state == "succeeded")
    return session.scalar(select(TuningRun.id).where(*mine)) is not None


def expire_leases(session: Session) -> list[str]:
    """Put runs whose worker has gone silent back in the queue; their ids. Their messages are in the outbox. Those that
    were to be paused are put aside instead."""
    silent = "The worker went silent; the run waits for another one."
    taken = _take_back(session, TuningRun.lease_until < clock.now(), silent, "run.requeued", None)
    return [run_id for run_id, state in taken if state == "queued"]


def rescue(session: Session, run_id: str, actor_id: str) -> bool:
    """Take a run out of its worker's hands before its lease has run out, for an administrator who knows that nothing
    comes of it: whether it is in the queue again (its message is in the outbox), and not put aside. The worker, if it
    lives, can write nothing more. Raises Conflict when no worker holds the run."""
    told = "An administrator took the run back from its worker; it waits for another one."
    taken = _take_back(session, TuningRun.id == run_id, told, "run.rescued", actor_id)
    if not taken:
        raise Conflict("No worker holds this run, so there is nothing to take back.")
    return taken == [(run_id, "queued")]


def _take_back(
    session: Session, which: ColumnElement[bool], message: str, action: str, actor_id: str | None
) -> list[tuple[str, RunState]]:
    """Put claimed runs back into the queue, or aside where a pause was asked for: their ids, and which it was."""
    found = session.execute(
        _quietly(update(TuningRun))
        .where(TuningRun.state.in_(CLAIMED_STATES), which)
        .values(
            state=case((and_(TuningRun.pause_requested, ~TuningRun.cancel_requested), "paused"), else_="queued"),
            lease_until=None,
            worker=None,
            pause_requested=False,
        )
        .returning(TuningRun.id, TuningRun.user_id, TuningRun.state)
    ).all()
    for run_id, user_id, state in found:
        if state == "paused":
            session.add(_event(run_id, user_id, PAUSED, {}, "info"))
            audit.record(session, "run.paused", actor_id=actor_id, subject_id=run_id)
            continue
        outbox.add(session, run_id)
        session.add(_event(run_id, user_id, message, {}, "warn"))
        audit.record(session, action, actor_id=actor_id, subject_id=run_id)
    session.flush()
    return [(run_id, state) for run_id, _, state in found]


def _give_back(session: Session, held: Claim, attempts: int, message: str) -> None:
    if hold(session, held) == "pause":
        _put_aside(session, held, attempts)
        return
    _write(session, held, state="queued", attempts=attempts, lease_until=None, worker=None)
    outbox.add(session, held.run_id)
    _tell(session, held, message)


def _put_aside(session: Session, held: Claim, attempts: int) -> None:
    _write(session, held, state="paused", attempts=attempts, lease_until=None, worker=None, pause_requested=False)
    _tell(session, held, PAUSED)
    audit.record(session, "run.paused", subject_id=held.run_id)


def _end(
    session: Session,
    held: Claim,
    state: EndState,
    published: bool | None,
    figures: dict[str, Any] | None,
    error_code: str | None,
    error_message: str | None,
) -> None:
    ended = session.execute(
        _quietly(update(TuningRun))
        .where(_held(held))
        .values(
            state=state,
            published=bool(published) if state == "succeeded" else False,
            figures=finite(figures or {}),
            error_code=error_code,
            error_message=error_message,
            lease_until=None,
            pause_requested=False,
            finished_at=clock.now(),
        )
        .returning(TuningRun.id)
    ).all()
    if not ended:
        raise _lost(held)
    session.execute(delete(TuningCheckpoint).where(TuningCheckpoint.run_id == held.run_id))
    _tell(session, held, _last_words(state, bool(published), error_message), level="error" if error_code else "info")
    audit.record(session, f"run.{state}", subject_id=held.run_id, published=bool(published), error_code=error_code)
    notices.announce_end(session, held.user_id, held.run_id)


def _last_words(state: EndState, published: bool, error_message: str | None) -> str:
    if state == "succeeded":
        return "Published." if published else "Done, and not published: it would not have helped."
    return error_message or ("Cancelled." if state == "cancelled" else "Failed.")


def _give_up(session: Session, held: Claim, max_attempts: int) -> None:
    message = (
        f"Training was interrupted {max_attempts} times, so it was given up. Nothing of yours is lost: "
        "start it again, and tell an administrator if it happens once more."
    )
    finish(session, held, state="failed", error_code=GAVE_UP, error_message=message)


def _write(session: Session, held: Claim, **values: Any) -> Asked | None:
    """Change the run under its fence; what has been asked for. Raises LostLease."""
    change = _quietly(update(TuningRun)).where(_held(held)).values(**values).returning(*_ASKED)
    written = session.execute(change).one_or_none()
    if written is None:
        raise _lost(held)
    return _asked(written)


def _asked(written: Any) -> Asked | None:
    """From a row with the columns of _ASKED."""
    if written.cancel_requested:
        return "cancel"
    return "pause" if written.pause_requested else None


def _held(held: Claim) -> ColumnElement[bool]:
    return and_(TuningRun.id == held.run_id, TuningRun.fence == held.fence, TuningRun.state.in_(CLAIMED_STATES))


def _lost(held: Claim) -> LostLease:
    return LostLease(f"{held.run_id} is not held under fence {held.fence} any more: stop, write nothing")


def finite(figures: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinities and no "not a number": they become null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }


def _quietly(change: Update) -> Update:
    """Rows already loaded in the session are left as they are: workers keep none."""
    return change.execution_options(synchronize_session=False)


def _tell(
    session: Session, held: Claim, message: str, metrics: dict[str, Any] | None = None, level: Level = "info"
) -> None:
    session.add(_event(held.run_id, held.user_id, message, metrics or {}, level))
    session.flush()


def _event(run_id: str, user_id: str, message: str, data: dict[str, Any], level: Level) -> TuningEvent:
    kind: Literal["message", "metrics"] = "metrics" if data else "message"
    return TuningEvent(
        run_id=run_id, user_id=user_id, at=clock.now(), level=level, type=kind, message=message, data=data
    )


__all__ = [
    "GAVE_UP",
    "PAUSED",
    "Asked",
    "Claim",
    "EndState",
    "claim",
    "claim_next",
    "expire_leases",
    "finish",
    "finish_published",
    "finite",
    "has_succeeded",
    "heartbeat",
    "hold",
    "record_progress",
    "release",
    "rescue",
    "set_apart",
    "start_running",
    "stop",
]
