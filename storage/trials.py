"""Blind trials: which version of a voice wrote against what, in which order, and what its owner chose. Owns the lot and
the count; no text ever comes here."""

import secrets
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from storage import clock, voices
from storage.errors import Conflict, NoPublishedVersion, NotFound
from storage.ids import new_id
from storage.models import BlindTrial, TrialChoice

OPEN_S = 24 * 3600.0  # what was begun and never decided goes after that, when the person begins another
MOST_OPEN = 100  # of one person; the oldest go
Side = Literal["first", "second"]
SIDES: tuple[Side, ...] = ("first", "second")


@dataclass(frozen=True)
class Tally:
    """How often a version was chosen. against: another version, None for the base model. own_strength: whether the
    voice was followed as it is (1), or more or less than that."""

    against: int | None
    own_strength: bool
    version: int = 0
    other: int = 0
    neither: int = 0


def begin_trial(
    session: Session, user_id: str, voice_id: str, *, against: int | None, strength: float = 1.0
) -> BlindTrial:
    """A trial of the version in use against another one, or against the base model (None), the order drawn by lot.
    Raises NotFound, NoPublishedVersion, Conflict where both sides would be the same."""
    voice = voices.get_voice(session, user_id, voice_id)
    if voice.active_version is None:
        raise NoPublishedVersion("This voice has no version in use: train it, or choose one of its versions.")
    if against is not None:
        voices.get_version(session, user_id, voice_id, against)
    if against == voice.active_version:
        raise Conflict(f"Version {against} is the one in use: choose another to compare it with.")
    if strength == 0:
        raise Conflict("At strength 0 both sides would be the base model: raise it to compare the two.")
    _tidy(session, user_id)
    trial = BlindTrial(
        id=new_id("trial"),
        user_id=user_id,
        voice_id=voice_id,
        version=voice.active_version,
        against=against,
        version_first=secrets.choice((True, False)),
        strength=strength,
        created_at=clock.now(),
    )
    session.add(trial)
    session.flush()
    return trial


def get_trial(session: Session, user_id: str, trial_id: str) -> BlindTrial:
    """One trial. Raises NotFound."""
    trial = session.scalar(select(BlindTrial).where(BlindTrial.id == trial_id, BlindTrial.user_id == user_id))
    if trial is None:
        raise NotFound("no such trial")
    return trial


def is_version(trial: BlindTrial, side: Side) -> bool:
    """Whether the version that is tried wrote this side, not what it is tried against."""
    return trial.version_first == (side == "first")


def choose(session: Session, user_id: str, trial_id: str, side: Side | None) -> BlindTrial:
    """Note which side the person chose, None: neither. Once only, so that nobody chooses after having been told; the
    same choice again, whose answer may have been lost, changes nothing. Raises NotFound, Conflict."""
    trial = get_trial(session, user_id, trial_id)
    choice: TrialChoice = "neither" if side is None else "version" if is_version(trial, side) else "against"
    open_yet = update(BlindTrial).where(
        BlindTrial.id == trial_id, BlindTrial.user_id == user_id, BlindTrial.choice.is_(None)
    )
    session.execute(open_yet.values(choice=choice, chosen_at=clock.now()))
    session.refresh(trial)
    if trial.choice != choice:
        raise Conflict("This trial has been decided: begin another to choose again.")
    return trial


def tallies(session: Session, user_id: str, voice_id: str, version: int) -> list[Tally]:
    """The decided trials of a version of the person's, against the base model first. Raises NotFound."""
    voices.get_version(session, user_id, voice_id, version)
    own = (BlindTrial.strength == 1.0).label("own")
    counted = session.execute(
        select(BlindTrial.against, own, BlindTrial.choice, func.count())
        .where(
            BlindTrial.user_id == user_id,
            BlindTrial.voice_id == voice_id,
            BlindTrial.version == version,
            BlindTrial.choice.is_not(None),
        )
        .group_by(BlindTrial.against, own, BlindTrial.choice)
    )
    counts: defaultdict[tuple[int | None, bool], dict[str, int]] = defaultdict(dict)
    for against, as_it_is, choice, count in counted:
        counts[against, bool(as_it_is)]["other" if choice == "against" else str(choice)] = count
    ordered = sorted(counts.items(), key=lambda item: (item[0][0] or 0, not item[0][1]))
    return [Tally(against, as_it_is, **count) for (against, as_it_is), count in ordered]


def _tidy(session: Session, user_id: str) -> None:
    """Leave room for one more that is not decided."""
    unchosen = (BlindTrial.user_id == user_id, BlindTrial.choice.is_(None))
    kept = select(BlindTrial.id).where(*unchosen, BlindTrial.created_at > clock.now() - OPEN_S)
    kept = kept.order_by(BlindTrial.created_at.desc(), BlindTrial.id).limit(MOST_OPEN - 1)
    ids = list(session.scalars(kept))
    session.execute(delete(BlindTrial).where(*unchosen, BlindTrial.id.not_in(ids)))
