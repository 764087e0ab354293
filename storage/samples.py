"""Writing samples: kept under their owner's data key, read back only for their owner.

What makes a text acceptable is storage.text_intake's; this module owns the rows.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, func, not_, select, true, update
from sqlalchemy.exc import IntegrityError as RowExists
from sqlalchemy.orm import Session

from storage import clock, crypto, voices
from storage.errors import Conflict, InvalidSample, LimitReached, NotFound
from storage.ids import new_id
from storage.keys import KeyStore
from storage.models import WritingSample
from storage.text_intake import (
    MAX_CHARS,
    MAX_PROMPT_CHARS,
    MAX_TITLE_CHARS,
    MIN_CHARS,
    clean_date,
    clean_line,
    clean_text,
    count_words,
    decode_upload,
)

MAX_SAMPLES = 500
MAX_VOICE_CHARS = 5_000_000
ENOUGH_SAMPLES = 3
ENOUGH_WORDS = 300  # in fewer than three samples
LEAST_WORDS = 100  # in however many
GOOD_WORDS = 3000


@dataclass(frozen=True)
class Sample:
    """A writing sample in clear. Hand it to no one but its owner's page, API answer or training."""

    id: str
    text: str
    title: str | None
    prompt: str | None
    prompt_made: bool  # by the base model, not by the person
    written_on: str | None
    included: bool
    num_words: int
    num_chars: int
    position: int
    created_at: float


@dataclass(frozen=True)
class Draft:
    """A text that can be kept, not yet in any voice."""

    text: str
    title: str | None
    prompt: str | None
    written_on: str | None
    num_words: int


@dataclass(frozen=True)
class Readiness:
    """Whether a voice can be trained, over its included samples, and a sentence for its owner."""

    num_samples: int
    num_words: int
    enough: bool
    sentence: str


def draft(text: str, *, title: str | None = None, prompt: str | None = None, written_on: str | None = None) -> Draft:
    """Make ready what takes time before a transaction. Raises InvalidSample (empty, short, long, binary)."""
    text = clean_text(text)
    return Draft(
        text=text,
        title=clean_line(title, "title", MAX_TITLE_CHARS),
        prompt=clean_line(prompt, "prompt", MAX_PROMPT_CHARS),
        written_on=clean_date(written_on),
        num_words=count_words(text),
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
    position = _room(session, voice_id, 1, len(new.text))
    sample = _sealed(keys.data_key(user_id), user_id, voice_id, new, position)
    try:
        with session.begin_nested():
            session.add(sample)
    except RowExists:
        voices.get_voice(session, user_id, voice_id)  # deleted in this moment?
        raise InvalidSample(
            "This text is already among the samples of this voice, so it was not added again."
        ) from None
    return sample


def add_drafts(session: Session, keys: KeyStore, *, user_id: str, voice_id: str, drafts: Sequence[Draft]) -> int:
    """Keep those of these texts that the voice has not yet, each once, in this order: how many. Raises LimitReached
    (none is kept), NotFound, Conflict when somebody adds one of them in the same moment."""
    key = keys.data_key(user_id)
    given: dict[str, Draft] = {}
    for new in drafts:
        given.setdefault(_content_mac(key, new.text), new)
    voices.get_voice(session, user_id, voice_id)
    known = set(session.scalars(select(WritingSample.content_mac).where(WritingSample.voice_id == voice_id)))
    fresh = [new for mac, new in given.items() if mac not in known]
    if not fresh:
        return 0
    first = _room(session, voice_id, len(fresh), sum(len(new.text) for new in fresh))
    try:
        with session.begin_nested():
            session.add_all(
                _sealed(key, user_id, voice_id, new, position) for position, new in enumerate(fresh, start=first)
            )
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
    return _opened(keys, session.scalars(wanted.order_by(WritingSample.position, WritingSample.id)))


def read_samples(session: Session, keys: KeyStore, user_id: str, sample_ids: Sequence[str]) -> list[Sample]:
    """These samples of the person, in this order. Those deleted since (or another's) are left out."""
    return _read(session, keys, user_id, sample_ids, true())


def get_sample(session: Session, keys: KeyStore, user_id: str, voice_id: str, sample_id: str) -> Sample:
    """One sample, decrypted. Raises NotFound."""
    return _opened(keys, [_row(session, user_id, voice_id, sample_id)])[0]


def set_included(session: Session, user_id: str, voice_id: str, sample_id: str, included: bool) -> None:
    """Take a sample into the next training, or leave it out. Raises NotFound."""
    _row(session, user_id, voice_id, sample_id).included = included
    session.flush()


def set_prompt(
    session: Session, keys: KeyStore, user_id: str, voice_id: str, sample_id: str, prompt: str | None
) -> None:
    """What the sample answers, in its owner's words. Blank or None clears it, and then none is made either.
    Raises InvalidSample (too long), NotFound."""
    prompt, key = clean_line(prompt, "prompt", MAX_PROMPT_CHARS), keys.data_key(user_id)
    row = _row(session, user_id, voice_id, sample_id)
    row.prompt_sealed = _seal_if(key, prompt, user_id, sample_id, "prompt")
    row.prompt_made = prompt is None
    session.flush()


def awaiting_prompt(session: Session, keys: KeyStore, user_id: str, sample_ids: Sequence[str]) -> list[Sample]:
    """Those of these samples for which a prompt is to be made: without one, and neither tried in vain nor cleared."""
    return _read(session, keys, user_id, sample_ids, _awaits_prompt())


def set_made_prompt(session: Session, keys: KeyStore, user_id: str, sample_id: str, prompt: str | None) -> bool:
    """Keep what the base model made; None: tried in vain. Whether it was kept: what the person has set or cleared in
    the meantime stands, and a sample that is gone stays gone. Raises InvalidSample (too long)."""
    prompt, key = clean_line(prompt, "prompt", MAX_PROMPT_CHARS), keys.data_key(user_id)
    sealed = _seal_if(key, prompt, user_id, sample_id, "prompt")
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


def readiness(session: Session, user_id: str, voice_id: str) -> Readiness:
    """How far the included samples go. Raises NotFound."""
    voices.get_voice(session, user_id, voice_id)
    num_samples, num_words = session.execute(
        select(func.count(), func.coalesce(func.sum(WritingSample.num_words), 0)).where(
            WritingSample.voice_id == voice_id, WritingSample.user_id == user_id, WritingSample.included
        )
    ).one()
    enough = num_words >= ENOUGH_WORDS or (num_samples >= ENOUGH_SAMPLES and num_words >= LEAST_WORDS)
    return Readiness(num_samples, num_words, enough, _readiness_sentence(num_samples, num_words, enough))


def _readiness_sentence(num_samples: int, num_words: int, enough: bool) -> str:
    if num_samples == 0:
        return (
            f"Add a few things you have written: {ENOUGH_SAMPLES} pieces, or about {ENOUGH_WORDS} words in all, "
            "are enough to begin."
        )
    if not enough and num_samples >= ENOUGH_SAMPLES:
        return f"A little more: about {LEAST_WORDS - num_words} more words and you can train."
    if not enough:
        pieces = ENOUGH_SAMPLES - num_samples
        return (
            f"A little more: {pieces} more piece{'s' * (pieces > 1)}, or about {ENOUGH_WORDS - num_words} more words, "
            "and you can train."
        )
    if num_words < GOOD_WORDS:
        return (
            f"Enough to begin. Up to about {GOOD_WORDS:,} words the voice gains the most: "
            f"{GOOD_WORDS - num_words:,} more would make it surer."
        )
    return "Plenty to learn from. More of the same kind helps a little; other kinds of writing help more."


def _read(
    session: Session, keys: KeyStore, user_id: str, sample_ids: Sequence[str], which: ColumnElement[bool]
) -> list[Sample]:
    mine = select(WritingSample).where(WritingSample.user_id == user_id, WritingSample.id.in_(sample_ids), which)
    found = {sample.id: sample for sample in _opened(keys, session.scalars(mine))}
    return [found[sample_id] for sample_id in sample_ids if sample_id in found]


def _awaits_prompt() -> ColumnElement[bool]:
    return and_(WritingSample.prompt_sealed.is_(None), not_(WritingSample.prompt_made))


def _row(session: Session, user_id: str, voice_id: str, sample_id: str) -> WritingSample:
    row = session.scalar(
        select(WritingSample).where(
            WritingSample.id == sample_id, WritingSample.voice_id == voice_id, WritingSample.user_id == user_id
        )
    )
    if row is None:
        raise NotFound("no such sample")
    return row


def _sealed(key: bytes, user_id: str, voice_id: str, new: Draft, position: int) -> WritingSample:
    sample_id = new_id("sample")
    return WritingSample(
        id=sample_id,
        user_id=user_id,
        voice_id=voice_id,
        position=position,
        text_sealed=_seal(key, new.text, user_id, sample_id, "text"),
        title_sealed=_seal_if(key, new.title, user_id, sample_id, "title"),
        prompt_sealed=_seal_if(key, new.prompt, user_id, sample_id, "prompt"),
        content_mac=_content_mac(key, new.text),
        num_words=new.num_words,
        num_chars=len(new.text),
        written_on=new.written_on,
        included=True,
        created_at=clock.now(),
    )


def _room(session: Session, voice_id: str, num_samples: int, num_chars: int) -> int:
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


def _opened(keys: KeyStore, rows: Iterable[WritingSample]) -> list[Sample]:
    return [_open(keys.data_key(row.user_id), row) for row in rows]


def _open(key: bytes, row: WritingSample) -> Sample:
    def clear(sealed: bytes | None, field: str) -> str | None:
        return crypto.unseal(key, sealed, "sample", row.user_id, row.id, field).decode() if sealed else None

    return Sample(
        id=row.id,
        text=clear(row.text_sealed, "text") or "",
        title=clear(row.title_sealed, "title"),
        prompt=clear(row.prompt_sealed, "prompt"),
        prompt_made=row.prompt_made and row.prompt_sealed is not None,
        written_on=row.written_on,
        included=row.included,
        num_words=row.num_words,
        num_chars=row.num_chars,
        position=row.position,
        created_at=row.created_at,
    )


def _seal(key: bytes, text: str, user_id: str, sample_id: str, field: str) -> bytes:
    return crypto.seal(key, text.encode(), "sample", user_id, sample_id, field)


def _seal_if(key: bytes, text: str | None, user_id: str, sample_id: str, field: str) -> bytes | None:
    return None if text is None else _seal(key, text, user_id, sample_id, field)


def _content_mac(key: bytes, text: str) -> str:
    return hmac.new(crypto.derive(key, "content mac"), text.encode(), hashlib.sha256).hexdigest()


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
    "Sample",
    "add_drafts",
    "add_sample",
    "awaiting_prompt",
    "decode_upload",
    "delete_sample",
    "draft",
    "get_sample",
    "included_ids",
    "list_samples",
    "read_samples",
    "readiness",
    "set_included",
    "set_made_prompt",
    "set_prompt",
]
