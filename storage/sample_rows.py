"""One writing sample as a row: sealed under its owner's data key, and opened again. Knows no query."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from storage import clock, crypto
from storage.ids import new_id
from storage.keys import KeyStore
from storage.models import WritingSample
from storage.remarks import Remarks
from storage.text_intake import Draft


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
    waiting: bool  # it came out of a file and was not looked at yet
    num_words: int
    num_chars: int
    position: int
    created_at: float
    content_mac: str
    remarks: Remarks


def sealed_row(
    key: bytes,
    user_id: str,
    voice_id: str,
    new: Draft,
    position: int,
    *,
    remarks: Remarks | None = None,
    waiting: bool = False,
) -> WritingSample:
    """A new row of this text: included, unless it is to wait."""
    sample_id = new_id("sample")
    return WritingSample(
        id=sample_id,
        user_id=user_id,
        voice_id=voice_id,
        position=position,
        text_sealed=seal(key, new.text, user_id, sample_id, "text"),
        title_sealed=seal_if(key, new.title, user_id, sample_id, "title"),
        prompt_sealed=seal_if(key, new.prompt, user_id, sample_id, "prompt"),
        content_mac=content_mac(key, new.text),
        num_words=new.num_words,
        num_chars=len(new.text),
        written_on=new.written_on,
        included=not waiting,
        waiting=waiting,
        remarks_sealed=seal_remarks(key, remarks, user_id, sample_id),
        created_at=clock.now(),
    )


def opened(keys: KeyStore, rows: Iterable[WritingSample]) -> list[Sample]:
    """These rows in clear. Raises KeyErased, IntegrityError."""
    return [_open(keys.data_key(row.user_id), row) for row in rows]


def seal(key: bytes, text: str, user_id: str, sample_id: str, field: str) -> bytes:
    """One field of one sample."""
    return crypto.seal(key, text.encode(), "sample", user_id, sample_id, field)


def seal_if(key: bytes, text: str | None, user_id: str, sample_id: str, field: str) -> bytes | None:
    """The same where there is something to seal."""
    return None if text is None else seal(key, text, user_id, sample_id, field)


def seal_remarks(key: bytes, remarks: Remarks | None, user_id: str, sample_id: str) -> bytes | None:
    """What was noticed; None where nothing was."""
    if remarks is None or remarks == Remarks():
        return None
    return crypto.seal(key, remarks.to_json(), "sample", user_id, sample_id, "remarks")


def content_mac(key: bytes, text: str) -> str:
    """By which the same text is found again, by its owner alone."""
    return hmac.new(crypto.derive(key, "content mac"), text.encode(), hashlib.sha256).hexdigest()


def _open(key: bytes, row: WritingSample) -> Sample:
    def raw(sealed: bytes | None, field: str) -> bytes | None:
        return crypto.unseal(key, sealed, "sample", row.user_id, row.id, field) if sealed else None

    def clear(sealed: bytes | None, field: str) -> str | None:
        found = raw(sealed, field)
        return None if found is None else found.decode()

    remarks = raw(row.remarks_sealed, "remarks")
    return Sample(
        id=row.id,
        text=clear(row.text_sealed, "text") or "",
        title=clear(row.title_sealed, "title"),
        prompt=clear(row.prompt_sealed, "prompt"),
        prompt_made=row.prompt_made and row.prompt_sealed is not None,
        written_on=row.written_on,
        included=row.included,
        waiting=row.waiting,
        num_words=row.num_words,
        num_chars=row.num_chars,
        position=row.position,
        created_at=row.created_at,
        content_mac=row.content_mac,
        remarks=Remarks.from_json(remarks) if remarks else Remarks(),
    )
