"""What people do to a sample once it is there: look at those that wait, edit, put back what was taken out, split.

A text that is changed is another sample, with another id: a version that was trained on the old words has been trained
on something that its owner took back, and the next training must not go on from it. storage.samples owns the rest.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError as RowExists
from sqlalchemy.orm import Session

from storage import voices
from storage.errors import InvalidSample, NotFound
from storage.keys import KeyStore
from storage.models import WritingSample
from storage.remarks import Remarks, kept_text
from storage.sample_rows import opened, seal_if, sealed_row
from storage.samples import Draft, draft, room, row_of, within_quota
from storage.text_intake import MAX_TITLE_CHARS, clean_date, clean_line

MOST_PARTS = 200


def count_waiting(session: Session, user_id: str, voice_id: str) -> int:
    """How many samples of the voice nobody has looked at yet."""
    mine = (WritingSample.voice_id == voice_id, WritingSample.user_id == user_id, WritingSample.waiting)
    return session.scalar(select(func.count()).where(*mine)) or 0


def decide(
    session: Session, user_id: str, voice_id: str, seen: Collection[str], taken: Collection[str]
) -> tuple[int, int]:
    """Of the samples that wait and were seen, take some into the next training and leave the others out: how many of
    each. Those that wait no longer stay as they are. Raises NotFound."""
    voices.get_voice(session, user_id, voice_id)

    def settle(ids: Collection[str], included: bool) -> int:
        mine = update(WritingSample).where(
            WritingSample.voice_id == voice_id,
            WritingSample.user_id == user_id,
            WritingSample.waiting,
            WritingSample.id.in_(ids),
        )
        done = mine.values(waiting=False, included=included).returning(WritingSample.id)
        return len(session.execute(done, execution_options={"synchronize_session": False}).all())

    return settle(set(seen) & set(taken), True), settle(set(seen) - set(taken), False)


def discard_waiting(session: Session, user_id: str, voice_id: str) -> int:
    """Delete every sample of the voice that waits: how many. Raises NotFound."""
    voices.get_voice(session, user_id, voice_id)
    mine = delete(WritingSample).where(
        WritingSample.voice_id == voice_id, WritingSample.user_id == user_id, WritingSample.waiting
    )
    return len(session.execute(mine.returning(WritingSample.id)).all())


def describe(
    session: Session,
    keys: KeyStore,
    user_id: str,
    voice_id: str,
    sample_id: str,
    *,
    title: str | None,
    written_on: str | None,
) -> None:
    """Another title and date. Raises InvalidSample, NotFound."""
    title, written_on = clean_line(title, "title", MAX_TITLE_CHARS), clean_date(written_on)
    key = keys.data_key(user_id)
    row = row_of(session, user_id, voice_id, sample_id)
    row.title_sealed, row.written_on = seal_if(key, title, user_id, sample_id, "title"), written_on
    session.flush()


def change_text(session: Session, keys: KeyStore, user_id: str, voice_id: str, sample_id: str, text: str) -> str:
    """Other words in its place, which are its owner's decision: what was noticed about the old ones is forgotten.
    The id it has from now on. Raises InvalidSample (also when another sample says the same), LimitReached, NotFound."""
    new = draft(text)
    return _replace(session, keys, row_of(session, user_id, voice_id, sample_id), [new], Remarks())[0]


def set_part(
    session: Session, keys: KeyStore, user_id: str, voice_id: str, sample_id: str, number: int, *, out: bool
) -> str:
    """Put back one part that was taken out of a sample's text, or take it out again: the id it has from now on.
    number: in its remarks' parts. Raises InvalidSample, LimitReached, NotFound."""
    row = row_of(session, user_id, voice_id, sample_id)
    remarks = opened(keys, [row])[0].remarks
    try:
        remarks = remarks.with_part(number, out=out)
    except IndexError:
        raise NotFound("no such part") from None
    return _replace(session, keys, row, [draft(kept_text(remarks.parts))], remarks)[0]


def split_sample(
    session: Session, keys: KeyStore, user_id: str, voice_id: str, sample_id: str, texts: Sequence[str]
) -> list[str]:
    """Several samples in the place of one, in this order: their ids. Title and number, date and prompt go with each.
    Raises InvalidSample (with the number of the part that can't be one), LimitReached, NotFound."""
    if not 1 < len(texts) <= MOST_PARTS:
        raise InvalidSample(f"Make at least two parts of it, and at most {MOST_PARTS}.")
    drafts = []
    for number, text in enumerate(texts, start=1):
        try:
            drafts.append(draft(text))
        except InvalidSample as wrong:
            raise InvalidSample(f"Part {number}: {wrong}") from None
    if len({new.text for new in drafts}) < len(drafts):
        raise InvalidSample("Two of the parts say the same. Take one of them out.")
    row = row_of(session, user_id, voice_id, sample_id)
    return _replace(session, keys, row, drafts, Remarks(source=opened(keys, [row])[0].remarks.source))


def _replace(
    session: Session, keys: KeyStore, row: WritingSample, drafts: Sequence[Draft], remarks: Remarks
) -> list[str]:
    """Put new rows where this one is. What follows it moves on."""
    key, (old,) = keys.data_key(row.user_id), opened(keys, [row])
    if [new.text for new in drafts] == [old.text]:
        return [old.id]
    num_chars = sum(len(new.text) for new in drafts)
    within_quota(session, row.user_id, len(drafts) - 1, num_chars - old.num_chars)
    gone = delete(WritingSample).where(WritingSample.id == row.id).returning(WritingSample.id)
    if not session.execute(gone, execution_options={"synchronize_session": False}).all():
        raise NotFound("no such sample")  # somebody else's hand was quicker
    room(session, row.voice_id, len(drafts), num_chars)
    later = (WritingSample.voice_id == row.voice_id, WritingSample.position > row.position)
    session.execute(
        update(WritingSample).where(*later).values(position=WritingSample.position + len(drafts) - 1),
        execution_options={"synchronize_session": False},
    )
    rows = []
    for number, new in enumerate(drafts):
        title = _numbered(old.title, number + 1, len(drafts))
        whole = replace(new, title=title, prompt=old.prompt, written_on=old.written_on)
        made = sealed_row(key, row.user_id, row.voice_id, whole, row.position + number, remarks=remarks)
        made.included, made.waiting, made.prompt_made = row.included, row.waiting, row.prompt_made
        rows.append(made)
    try:
        with session.begin_nested():
            session.add_all(rows)
    except RowExists:
        voices.get_voice(session, row.user_id, row.voice_id)  # deleted in this moment?
        raise InvalidSample("Another sample of this voice says just this already.") from None
    return [made.id for made in rows]


def _numbered(title: str | None, number: int, count: int) -> str | None:
    if title is None or count == 1:
        return title
    return f"{title[: MAX_TITLE_CHARS - 12]} ({number} of {count})"
