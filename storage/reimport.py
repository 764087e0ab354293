"""Bringing an export's writing into an account: all of it, or nothing.

What comes back is voices by name and their samples, as somebody's who typed them in again would: each text is looked at
as any other is, and one that is there is not added again. Trained versions are not: that bytes are a prefix trained
here on this person's text is proved by the training alone. Knows no archive: see whoever unpacks it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError as RowExists
from sqlalchemy.orm import Session

from storage import audit, samples, text_intake, voices
from storage.errors import Conflict, InvalidExport, InvalidSample
from storage.export_bounds import NO_EXPORT, require_readable
from storage.export_format import FORMAT, MANIFEST, SAMPLES, VERSION, VOICE, Manifest, Notes, Sample
from storage.keys import KeyStore
from storage.models import Voice as VoiceRow
from storage.models import WritingSample
from storage.remarks import Part, Remarks
from storage.sample_rows import content_mac, sealed_row
from storage.text_intake import Draft, clean_name, draft

Checked = TypeVar("Checked", bound=BaseModel)
MOST_NOTED_CHARS = 4 * text_intake.MAX_CHARS
MOST_VOICES = 200  # looked at before any of them is read; how many an account may have is a quota's to say


class Named(BaseModel):
    """What is brought in of a Voice. The rest stays outside and is not looked at: a wrong one would have an error for
    each of its values."""

    name: str


@dataclass(frozen=True)
class Piece:
    """One sample that passed every check."""

    draft: Draft
    remarks: Remarks | None
    prompt_made: bool
    included: bool
    waiting: bool


@dataclass(frozen=True)
class Writing:
    """What an export holds of one voice."""

    name: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Brought:
    """What became of it."""

    new_voices: int
    new_samples: int
    known_samples: int


def wants(path: str) -> bool:
    """Whether this file of an export is read when it is brought in."""
    parts = path.split("/")
    return path == MANIFEST or (len(parts) == 3 and parts[0] == "voices" and parts[2] in (VOICE, SAMPLES))


def read(files: Mapping[str, bytes]) -> list[Writing]:
    """The writing in an export's files (path -> content), every line of it checked. Takes a while, so do it before a
    transaction. Raises InvalidExport."""
    files = {path: content for path, content in files.items() if wants(path)}
    require_readable(files)
    try:
        manifest = json.loads(files.get(MANIFEST, b""))
    except (ValueError, RecursionError):
        raise InvalidExport(NO_EXPORT) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InvalidExport(NO_EXPORT)
    if manifest.get("version") != VERSION:
        raise InvalidExport(f"This export is of a version that can't be read here; this platform reads {VERSION}.")
    _checked(Manifest, files[MANIFEST], MANIFEST)
    folders = [path.removesuffix(f"/{VOICE}") for path in sorted(files) if path.endswith(f"/{VOICE}")]
    if len(folders) > MOST_VOICES:
        raise InvalidExport(f"This export has {len(folders)} voices, and at most {MOST_VOICES} are read.")
    found = [_writing(files, folder) for folder in folders]
    if not any(writing.pieces for writing in found):
        raise InvalidExport("There is no writing in this export.")
    return found


def bring_in(session: Session, keys: KeyStore, user_id: str, found: Iterable[Writing]) -> Brought:
    """Keep the writing in the voices of the same names, new ones where there are none. Raises LimitReached, Conflict:
    roll back then, and nothing is kept."""
    key = keys.data_key(user_id)
    sealed = [(writing.name, _rows(key, user_id, writing)) for writing in found]  # slow, so before the first statement
    new_voices = new_samples = given = 0
    for name, rows in sealed:
        voice = session.scalar(select(VoiceRow).where(VoiceRow.user_id == user_id, VoiceRow.name == name))
        if voice is None:
            voice, new_voices = voices.create_voice(session, user_id, name), new_voices + 1
        new_samples += _add(session, user_id, voice.id, rows)
        given += len(rows)
    audit.record(session, "user.imported", actor_id=user_id, subject_id=user_id, samples=new_samples)
    return Brought(new_voices, new_samples, given - new_samples)


def _writing(files: Mapping[str, bytes], folder: str) -> Writing:
    voice = _checked(Named, files[f"{folder}/{VOICE}"], f"{folder}/{VOICE}")
    name = clean_name(voice.name, voices.MAX_NAME_CHARS)
    if not name:
        raise InvalidExport(f"{folder}/{VOICE}: the voice has no name.")
    path = f"{folder}/{SAMPLES}"
    lines = [line for line in enumerate(files.get(path, b"").split(b"\n"), start=1) if line[1].strip()]
    return Writing(name, tuple(_piece(line, f"{path}, line {number}") for number, line in lines))


def _piece(line: bytes, where: str) -> Piece:
    given = _checked(Sample, line, where)
    try:
        made = draft(given.text, title=given.title, prompt=given.prompt, written_on=given.written_on)
    except InvalidSample as wrong:
        raise InvalidExport(f"{where}: {wrong}") from None
    return Piece(
        made,
        _remarks(given.notes, where),
        prompt_made=given.prompt_made,
        included=given.included and not given.waiting,
        waiting=given.waiting,
    )


def _checked(kind: type[Checked], data: bytes, where: str) -> Checked:
    try:
        return kind.model_validate_json(data)
    except ValidationError as wrong:
        first = wrong.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the whole"
        raise InvalidExport(f"{where}: {place}: {first['msg']}.") from None


def _rows(key: bytes, user_id: str, writing: Writing) -> dict[str, WritingSample]:
    """content mac -> a row without a voice and a place yet; of the same text twice, the first."""
    rows: dict[str, WritingSample] = {}
    for piece in writing.pieces:
        if (mac := content_mac(key, piece.draft.text)) not in rows:
            row = sealed_row(key, user_id, "", piece.draft, 0, remarks=piece.remarks, waiting=piece.waiting)
            row.included = piece.included
            row.prompt_made = piece.prompt_made
            rows[mac] = row
    return rows


def _add(session: Session, user_id: str, voice_id: str, rows: Mapping[str, WritingSample]) -> int:
    known = set(session.scalars(select(WritingSample.content_mac).where(WritingSample.voice_id == voice_id)))
    fresh = [row for mac, row in rows.items() if mac not in known]
    if not fresh:
        return 0
    num_chars = sum(row.num_chars for row in fresh)
    samples.within_quota(session, user_id, len(fresh), num_chars)
    first = samples.room(session, voice_id, len(fresh), num_chars)
    for position, row in enumerate(fresh, start=first):
        row.voice_id, row.position = voice_id, position
    try:
        with session.begin_nested():
            session.add_all(fresh)
    except RowExists:
        raise Conflict("Something was added to this account in the same moment: bring it in once more.") from None
    return len(fresh)


def _remarks(notes: Notes | None, where: str) -> Remarks | None:
    if notes is None:
        return None
    parts = tuple(Part(part.kind, part.text, part.out) for part in notes.parts)
    short = (notes.source, notes.sender, notes.language, notes.expected, notes.expected_by)
    if sum(len(part.text) for part in notes.parts) > MOST_NOTED_CHARS or any(len(each or "") > 300 for each in short):
        raise InvalidExport(f"{where}: a sample's notes may have {MOST_NOTED_CHARS:,} characters.")
    return Remarks(**{**notes.model_dump(), "parts": parts})
