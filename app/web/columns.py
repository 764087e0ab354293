"""Who writes in a column of the writing page: the voice, what it is put beside, or one side of a blind trial. Reads
storage only."""

from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy.orm import Session

from app.web.wishes import Reach
from app.web.words import gettext
from storage import base_models, trials, voices
from storage.errors import NotFound
from storage.models import BlindTrial, Voice
from storage.trials import Side

Column = Literal["mine", "other", "first", "second"]
COLUMNS: tuple[Column, ...] = get_args(Column)
AGAINST_BASE = ("base", "none", "")  # none: only the voice is shown, and a blind trial still needs another


class NoBaseModel(Exception):
    """No base model has started yet."""


@dataclass(frozen=True)
class Writer:
    """model: as the API knows it. is_voice: it can be followed by degrees. blind: the browser must not learn who it is.
    strength: that of the trial, which the form can't change; None: the form's."""

    model: str
    is_voice: bool
    blind: bool = False
    strength: float | None = None


def reach_of(session: Session, user_id: str, voice_id: str) -> Reach:
    """What the base model can be asked, beside this voice. Raises NoBaseModel, NotFound."""
    base = base_models.current(session)
    if base is None:
        raise NoBaseModel
    versions = voices.list_versions(session, user_id, voice_id)
    longest = max((version.num_virtual_tokens for version in versions), default=0)
    return Reach(base.name, base.context_length - longest, base.has_chat_template)


def against_of(session: Session, voice: Voice, wanted: str) -> int | None:
    """What a voice is put beside: one of its versions, or the base model (None), which never stands in for a version
    that is not there. Raises NotFound."""
    if wanted in AGAINST_BASE:
        return None
    if not (wanted.isascii() and wanted.isdigit()):
        raise NotFound("no such version")
    return voices.get_version(session, voice.user_id, voice.id, int(wanted)).version


def writer(voice: Voice, reach: Reach, column: Column, against: int | None) -> Writer:
    """Of an open column: the version in use, or what it is put beside."""
    if column == "mine":
        return Writer(voice.id, is_voice=True)
    return Writer(_model(voice.id, against, reach), is_voice=against is not None)


def writer_of_trial(trial: BlindTrial, reach: Reach, side: Side) -> Writer:
    """Of one side of a trial, whose version stays what it was when the trial began."""
    version = version_of(trial, side)
    model = _model(trial.voice_id, version, reach)
    return Writer(model, is_voice=version is not None, blind=trial.choice is None, strength=trial.strength)


def version_of(trial: BlindTrial, side: Side) -> int | None:
    """The version that wrote one side of a trial, None for the base model."""
    return trial.version if trials.is_version(trial, side) else trial.against


def title_of(version: int | None) -> str:
    """What a column is called."""
    return gettext("Base model") if version is None else gettext("Version %(version)s", version=version)


def _model(voice_id: str, version: int | None, reach: Reach) -> str:
    return reach.name if version is None else f"{voice_id}@{version}"
