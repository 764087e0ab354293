"""Voices and which of their versions speaks. Another person's voice is as good as none: NotFound."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from storage import audit, clock, prefixes, quotas
from storage.errors import Conflict, NameTaken, NotFound
from storage.ids import new_id
from storage.models import PrefixVersion, TuningRun, Voice
from storage.store import Storage
from storage.text_intake import clean_name

MAX_NAME_CHARS = 80


def create_voice(session: Session, user_id: str, name: str) -> Voice:
    """A new, empty voice. Raises LimitReached beyond the person's quota, Conflict when they have one of this name."""
    quotas.require(session, user_id, "voices")
    voice = Voice(id=new_id("voice"), user_id=user_id, name=_free_name(session, user_id, name), created_at=clock.now())
    session.add(voice)
    session.flush()
    return voice


def list_voices(session: Session, user_id: str) -> list[Voice]:
    """The person's voices, oldest first."""
    mine = select(Voice).where(Voice.user_id == user_id)
    return list(session.scalars(mine.order_by(Voice.created_at, Voice.id)))


def get_voice(session: Session, user_id: str, voice_id: str) -> Voice:
    """One voice. Raises NotFound."""
    voice = session.scalar(select(Voice).where(Voice.id == voice_id, Voice.user_id == user_id))
    if voice is None:
        raise NotFound("no such voice")
    return voice


def rename_voice(session: Session, user_id: str, voice_id: str, name: str) -> Voice:
    """Another name. Raises NotFound, Conflict when another voice of the person has it."""
    voice = get_voice(session, user_id, voice_id)
    voice.name = _free_name(session, user_id, name, but=voice_id)
    session.flush()
    return voice


def delete_voice(storage: Storage, user_id: str, voice_id: str) -> None:
    """Delete a voice with its samples, runs, versions and cached copies. A run under way writes nothing more.
    Raises NotFound."""
    with storage.database.session() as session:
        runs = delete(TuningRun).where(TuningRun.voice_id == voice_id, TuningRun.user_id == user_id)
        session.execute(runs)  # first: workers lock runs, then voices
        mine = delete(Voice).where(Voice.id == voice_id, Voice.user_id == user_id).returning(Voice.id)
        if not session.execute(mine).all():
            raise NotFound("no such voice")
        audit.record(session, "voice.deleted", actor_id=user_id, subject_id=voice_id)
    prefixes.wipe_cached(storage, user_id, voice_id)


def list_versions(session: Session, user_id: str, voice_id: str) -> list[PrefixVersion]:
    """Published versions, newest first, without their bytes. Raises NotFound."""
    get_voice(session, user_id, voice_id)
    mine = select(PrefixVersion).where(PrefixVersion.voice_id == voice_id, PrefixVersion.user_id == user_id)
    return list(session.scalars(mine.order_by(PrefixVersion.version.desc())))


def versions_in_use(session: Session, user_id: str) -> dict[str, PrefixVersion]:
    """Of each of the person's voices that speaks, the version that does, without its bytes."""
    speaking = (PrefixVersion.voice_id == Voice.id) & (PrefixVersion.version == Voice.active_version)
    mine = select(PrefixVersion).join(Voice, speaking).where(Voice.user_id == user_id)
    return {version.voice_id: version for version in session.scalars(mine)}


def with_versions(session: Session, user_id: str) -> set[str]:
    """The ids of the person's voices that have a version, whether one is in use or not."""
    return set(session.scalars(select(PrefixVersion.voice_id).where(PrefixVersion.user_id == user_id).distinct()))


def get_version(session: Session, user_id: str, voice_id: str, version: int) -> PrefixVersion:
    """One version, without its bytes. Raises NotFound."""
    found = session.scalar(
        select(PrefixVersion).where(
            PrefixVersion.voice_id == voice_id, PrefixVersion.user_id == user_id, PrefixVersion.version == version
        )
    )
    if found is None:
        raise NotFound("no such version")
    return found


def published_by(session: Session, user_id: str, run_id: str) -> PrefixVersion:
    """The version that this run of the person published, without its bytes. Raises NotFound."""
    mine = select(PrefixVersion).where(PrefixVersion.run_id == run_id, PrefixVersion.user_id == user_id)
    found = session.scalar(mine)
    if found is None:
        raise NotFound("no such version")
    return found


def use_version(session: Session, user_id: str, voice_id: str, version: int | None) -> Voice:
    """Speak with this version from the next request on; None switches the voice off. Raises NotFound."""
    voice = get_voice(session, user_id, voice_id)
    if version is not None:
        get_version(session, user_id, voice_id, version)
    voice.active_version = version
    session.flush()
    audit.record(session, "voice.version_chosen", actor_id=user_id, subject_id=voice_id, version=version)
    return voice


def _free_name(session: Session, user_id: str, name: str, but: str | None = None) -> str:
    tidy = clean_name(name, MAX_NAME_CHARS)
    if not tidy:
        raise Conflict("Give the voice a name.")
    same = select(Voice.id).where(Voice.user_id == user_id, Voice.name == tidy, Voice.id != (but or ""))
    if session.scalar(same) is not None:
        raise NameTaken(f"You already have a voice named “{tidy}”: choose another name.")
    return tidy
