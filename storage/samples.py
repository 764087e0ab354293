"""Writing samples: kept under their owner's data key, read back only for their owner.

What makes a text acceptable is storage.text_intake's; this module owns the rows.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, func, not_, select, true, update
from sqlalchemy.exc import IntegrityError as RowExists
from sqlalchemy.orm import Session

from storage import quotas, voices
from storage.errors import Conflict, InvalidSample, LimitReached, NotFound
from storage.keys import KeyStore
from storage.models import WritingSample
from storage.readiness import ENOUGH_SAMPLES, ENOUGH_WORDS, GOOD_WORDS, LEAST_WORDS, Readiness, readiness
from storage.remarks import Remarks
from storage.sample_rows import Sample, content_mac, opened, seal_if, sealed_row
from storage.text_intake import (
    MAX_CHARS,
    MAX_PROMPT_CHARS,
    MAX_SAMPLES,
    MAX_VOICE_CHARS,
    MIN_CHARS,
    Draft,
    clean_line,
    decode_upload,
    draft,
)


def add_sample(
    session: Session,
    keys: KeyStore,
    *,
    user_id: str,
    voice_id: str,
    text: str,
    title: str | None = None,
    prompt: str | None = None,
    written_on: str | None = None,
) -> WritingSample:
    """Keep one text. Raises InvalidSample (empty, short, long, binary, there already), LimitReached, NotFound."""
    # All that takes time comes before the first statement, from which SQLite's write lock is held.
    new = draft(text, title=title, prompt=prompt, written_on=written_on)
    voices.get_voice(session, user_id, voice_id)
    position = room(session, voice_id, 1, len(new.text))
    within_quota(session, user_id, 1, len(new.text))
    sample = sealed_row(keys.data_key(user_id), user_id, voice_id, new, position)
    try:
        with session.begin_nested():
            session.add(sample)
    except RowExists:
        voices.get_voice(session, user_id, voice_id)  # deleted in this moment?
        raise InvalidSample(
            "This text is already among the samples of this voice, so it was not added again."
        ) from None
    return sample


def add_drafts(
    session: Session,
    keys: KeyStore,
    *,
    user_id: str,
    voice_id: str,
    drafts: Sequence[Draft],
    noticed: Sequence[Remarks] = (),
    waiting: bool = False,
) -> int:
    """Keep those of these texts that the voice has not yet, each once, in this order: how many. noticed: one for each.
    waiting: left out of training until somebody has looked. Raises LimitReached (none is kept), NotFound, Conflict when
    somebody adds one of them in the same moment."""
    key = keys.data_key(user_id)
    given: dict[str, WritingSample] = {}
    for new, remarks in zip(drafts, noticed or [Remarks()] * len(drafts), strict=True):
        mac = content_mac(key, new.text)
        given[mac] = given.get(mac) or sealed_row(key, user_id, voice_id, new, 0, remarks=remarks, waiting=waiting)
    voices.get_voice(session, user_id, voice_id)
    known = set(session.scalars(select(WritingSample.content_mac).where(WritingSample.voice_id == voice_id)))
    fresh = [row for mac, row in given.items() if mac not in known]
    if not fresh:
        return 0
    num_chars = sum(row.num_chars for row in fresh)
    first = room(session, voice_id, len(fresh), num_chars)
    within_quota(session, user_id, len(fresh), num_chars)
    for position, row in enumerate(fresh, start=first):
        row.position = position
    try:
        with session.begin_nested():
            session.add_all(fresh)
    except RowExists:
        voices.get_voice(session, user_id, voice_id)  # deleted in this moment?
        raise Conflict("This voice was given one of these texts in the same moment: ask again.") from None
    return len(fresh)


def list_samples(
    session: Session, keys: KeyStore, user_id: str, voice_id: str, *, included_only: bool = False
) -> list[Sample]:
    """A voice's samples in the order they were given, decrypted. Raises NotFound."""
    voices.get_voice(session, user_id, voice_id)
    wanted = select(WritingSample).where(WritingSample.voice_id == voice_id, WritingSample.user_id == user_id)
    if included_only:
        wanted = wanted.where(WritingSample.included)
    return opened(keys, session.scalars(wanted.order_by(WritingSample.position, WritingSample.id)))


def page_of(
    session: Session, keys: KeyStore, user_id: str, voice_id: str, *, waiting: bool, page: int, size: int
) -> tuple[list[Sample], int, int]:
    """One page (from 1 up) of the samples that were looked at, the newest first, or of those that wait, in the order
    they came: they, the page it is after all, and how many there are altogether. Raises NotFound."""
    voices.get_voice(session, user_id, voice_id)
    mine = (WritingSample.voice_id == voice_id, WritingSample.user_id == user_id, WritingSample.waiting == waiting)
    count = session.scalar(select(func.count()).where(*mine)) or 0
    page = min(max(page, 1), max(1, -(-count // size)))
    by = (WritingSample.position, WritingSample.id)
    wanted = select(WritingSample).where(*mine).order_by(*(by if waiting else [column.desc() for column in by]))
    return opened(keys, session.scalars(wanted.offset((page - 1) * size).limit(size))), page, count


def read_samples(session: Session, keys: KeyStore, user_id: str, sample_ids: Sequence[str]) -> list[Sample]:
    """These samples of the person, in this order. Those deleted since (or another's) are left out."""
    return _read(session, keys, user_id, sample_ids, true())


def get_sample(session: Session, keys: KeyStore, user_id: str, voice_id: str, sample_id: str) -> Sample:
    """One sample, decrypted. Raises NotFound."""
    return opened(keys, [row_of(session, user_id, voice_id, sample_id)])[0]


def set_included(session: Session, user_id: str, voice_id: str, sample_id: str, included: bool) -> None:
    """Take a sample into the next training, or leave it out; either way it waits no longer. Raises NotFound."""
    row = row_of(session, user_id, voice_id, sample_id)
    row.included, row.waiting = included, False
    session.flush()


def set_prompt(
    session: Session, keys: KeyStore, user_id: str, voice_id: str, sample_id: str, prompt: str | None
) -> None:
    """What the sample answers, in its owner's words. Blank or None clears it, and then none is made either.
    Raises InvalidSample (too long), NotFound."""
    prompt, key = clean_line(prompt, "prompt", MAX_PROMPT_CHARS), keys.data_key(user_id)
    row = row_of(session, user_id, voice_id, sample_id)
    row.prompt_sealed = seal_if(key, prompt, user_id, sample_id, "prompt")
    row.prompt_made = prompt is None
    session.flush()


def awaiting_prompt(session: Session, keys: KeyStore, user_id: str, sample_ids: Sequence[str]) -> list[Sample]:
    """Those of these samples for which a prompt is to be made: without one, and neither tried in vain nor cleared."""
    return _read(session, keys, user_id, sample_ids, _awaits_prompt())


def set_made_prompt(session: Session, keys: KeyStore, user_id: str, sample_id: str, prompt: str | None) -> bool:
    """Keep what the base model made; None: tried in vain. Whether it was kept: what the person has set or cleared in
    the meantime stands, and a sample that is gone stays gone. Raises InvalidSample (too long)."""
    prompt, key = clean_line(prompt, "prompt", MAX_PROMPT_CHARS), keys.data_key(user_id)
    sealed = seal_if(key, prompt, user_id, sample_id, "prompt")
    mine = and_(WritingSample.id == sample_id, WritingSample.user_id == user_id, _awaits_prompt())
    change = update(WritingSample).where(mine).values(prompt_sealed=sealed, prompt_made=True)
    return session.execute(change.returning(WritingSample.id)).one_or_none() is not None


def delete_sample(session: Session, user_id: str, voice_id: str, sample_id: str) -> None:
    """Delete a sample; a run under way keeps what it has read. Raises NotFound."""
    mine = delete(WritingSample).where(
        WritingSample.id == sample_id, WritingSample.voice_id == voice_id, WritingSample.user_id == user_id
    )
    if not session.execute(mine.returning(WritingSample.id)).all():
        raise NotFound("no such sample")


def included_ids(session: Session, user_id: str, voice_id: str) -> list[str]:
    """Ids of the included samples in the order they were given."""
    mine = select(WritingSample.id).where(
        WritingSample.voice_id == voice_id, WritingSample.user_id == user_id, WritingSample.included
    )
    return list(session.scalars(mine.order_by(WritingSample.position, WritingSample.id)))


def _read(
    session: Session, keys: KeyStore, user_id: str, sample_ids: Sequence[str], which: ColumnElement[bool]
) -> list[Sample]:
    mine = select(WritingSample).where(WritingSample.user_id == user_id, WritingSample.id.in_(sample_ids), which)
    found = {sample.id: sample for sample in opened(keys, session.scalars(mine))}
    return [found[sample_id] for sample_id in sample_ids if sample_id in found]


def _awaits_prompt() -> ColumnElement[bool]:
    return and_(WritingSample.prompt_sealed.is_(None), not_(WritingSample.prompt_made))


def row_of(session: Session, user_id: str, voice_id: str, sample_id: str) -> WritingSample:
    """One sample's row. Raises NotFound."""
    row = session.scalar(
        select(WritingSample).where(
            WritingSample.id == sample_id, WritingSample.voice_id == voice_id, WritingSample.user_id == user_id
        )
    )
    if row is None:
        raise NotFound("no such sample")
    return row


@dataclass(frozen=True)
class Room:
    """What may still be added to a voice. bounds: what it is that bounds it, in a sentence for its owner."""

    num_samples: int
    num_chars: int
    bounds: str


def room_left(session: Session, user_id: str, voice_id: str) -> Room:
    """How much the voice, and its owner's account, still have room for. Raises NotFound."""
    voices.get_voice(session, user_id, voice_id)
    count, chars = session.execute(
        select(func.count(), func.coalesce(func.sum(WritingSample.num_chars), 0)).where(
            WritingSample.voice_id == voice_id
        )
    ).one()
    room = Room(
        max(0, MAX_SAMPLES - count),
        max(0, MAX_VOICE_CHARS - chars),
        f"A voice may have {MAX_SAMPLES} samples and {MAX_VOICE_CHARS:,} characters. Delete some, or make another "
        "voice.",
    )
    limits = quotas.of(session, user_id)
    more, more_mb = quotas.left(session, user_id, "samples"), quotas.left(session, user_id, "stored_mb")
    if more < room.num_samples:
        bounds = quotas.sentence("samples", limits.samples, limits.samples - more)
        room = Room(int(more), room.num_chars, bounds)
    if more_mb * quotas.MEGABYTE < room.num_chars:
        bounds = quotas.sentence("stored_mb", limits.stored_mb, limits.stored_mb - more_mb)
        room = Room(room.num_samples, int(more_mb * quotas.MEGABYTE), bounds)
    return room


def find_by_text(
    session: Session, keys: KeyStore, user_id: str, voice_id: str, macs: Collection[str]
) -> dict[str, Sample]:
    """Those of the voice's samples whose text has one of these macs, by it."""
    mine = select(WritingSample).where(
        WritingSample.voice_id == voice_id, WritingSample.user_id == user_id, WritingSample.content_mac.in_(macs)
    )
    return {sample.content_mac: sample for sample in opened(keys, session.scalars(mine))}


def within_quota(session: Session, user_id: str, num_samples: int, num_chars: int) -> None:
    """Refuse what would be more than the account may have. Raises LimitReached."""
    quotas.require(session, user_id, "samples", num_samples)
    quotas.require(session, user_id, "stored_mb", num_chars / quotas.MEGABYTE)


def room(session: Session, voice_id: str, num_samples: int, num_chars: int) -> int:
    """The position of the next sample. Raises LimitReached."""
    count, last, chars = session.execute(
        select(
            func.count(), func.max(WritingSample.position), func.coalesce(func.sum(WritingSample.num_chars), 0)
        ).where(WritingSample.voice_id == voice_id)
    ).one()
    if count + num_samples > MAX_SAMPLES:
        raise LimitReached(
            f"This voice has {count} samples, and may have {MAX_SAMPLES}: delete some, or join short pieces into one."
        )
    if chars + num_chars > MAX_VOICE_CHARS:
        raise LimitReached(
            f"This voice holds {chars:,} characters, and may hold {MAX_VOICE_CHARS:,}: "
            "delete some samples to make room."
        )
    return 0 if last is None else last + 1


__all__ = [
    "ENOUGH_SAMPLES",
    "ENOUGH_WORDS",
    "GOOD_WORDS",
    "LEAST_WORDS",
    "MAX_CHARS",
    "MAX_SAMPLES",
    "MAX_VOICE_CHARS",
    "MIN_CHARS",
    "Draft",
    "Readiness",
    "Room",
    "Sample",
    "add_drafts",
    "add_sample",
    "awaiting_prompt",
    "decode_upload",
    "delete_sample",
    "draft",
    "find_by_text",
    "get_sample",
    "included_ids",
    "list_samples",
    "page_of",
    "read_samples",
    "readiness",
    "room",
    "room_left",
    "row_of",
    "set_included",
    "set_made_prompt",
    "set_prompt",
    "within_quota",
]
