"""What becomes of one form with writing in it: read, looked at for what is worth saying, and kept for its owner.

Reading files, telling whose words they are and noticing repeats is the business of app.intake; the rows are storage's.
Knows no request and no page.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from app.intake.errors import Unreadable
from app.intake.findings import Noted, Piece, Refused, Senders
from app.intake.noticing import Incoming, Known, noticed
from app.intake.own_words import parts_of
from app.intake.reading import GivenFile, read_files
from app.intake.splitting import is_long
from app.intake.tidying import tidied
from app.web.words import gettext, ngettext, told
from storage import base_models, samples
from storage.errors import InvalidSample
from storage.remarks import Remarks, kept_text
from storage.sample_rows import content_mac
from storage.samples import Room
from storage.store import Storage
from storage.text_intake import (
    MAX_PROMPT_CHARS,
    MAX_TITLE_CHARS,
    clean_date,
    clean_line,
    draft,
)


@dataclass(frozen=True)
class Given:
    """What one form holds. addresses: those that are the person's own, lower case."""

    files: Sequence[GivenFile]
    addresses: Collection[str]
    text: str = ""
    title: str = ""
    prompt: str = ""
    written_on: str = ""


@dataclass
class Harvest:
    """What was kept at once, what waits to be looked at, and what was left out and why."""

    kept: int = 0
    words: int = 0
    waiting: int = 0
    known: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)  # file name, sentence
    noted: list[tuple[str, str]] = field(default_factory=list)  # the same, of what was left out on purpose
    senders: list[Senders] = field(default_factory=list)
    paste_error: str = ""

    @property
    def sentence(self) -> str:
        """What went well, in words; empty when nothing did."""
        said = []
        if self.kept:
            words = ngettext("%(num)s word", "%(num)s words", self.words)
            said.append(
                ngettext("Kept %(num)s sample, %(words)s.", "Kept %(num)s samples, %(words)s.", self.kept, words=words)
            )
        if self.waiting:
            said.append(ngettext("%(num)s piece came in.", "%(num)s pieces came in.", self.waiting))
        if self.known:
            said.append(ngettext("%(num)s piece was there already.", "%(num)s pieces were there already.", self.known))
        return " ".join(said)

    @property
    def went_wrong(self) -> bool:
        """Whether something has to be done again."""
        return bool(self.refused or self.senders or self.paste_error)


def gather(storage: Storage, user_id: str, voice_id: str, given: Given) -> Harvest:
    """Take in all of it. Raises NotFound for another's voice, Conflict when it is given the same elsewhere just now."""
    harvest = Harvest()
    pieces = _read(given, harvest)
    if given.text.strip() or not given.files:
        try:
            pieces = [*_pasted(given), *pieces]
        except (Unreadable, InvalidSample) as wrong:
            harvest.paste_error = told(str(wrong))
    if pieces:
        _look_and_keep(storage, user_id, voice_id, pieces, harvest)
    return harvest


def _read(given: Given, harvest: Harvest) -> list[Piece]:
    """The pieces in its files; of all else, a line."""
    pieces = []
    for found in read_files(given.files, given.addresses) if given.files else ():
        if isinstance(found, Piece):
            pieces.append(found)
        elif isinstance(found, Refused):
            harvest.refused.append((found.source, told(found.sentence)))
        elif isinstance(found, Noted):
            harvest.noted.append((found.source, told(found.sentence)))
        else:
            harvest.senders.append(found)
    return pieces


def _pasted(given: Given) -> list[Piece]:
    pasted = Piece(
        source="",
        parts=parts_of(given.text.replace("\r\n", "\n"), mail=False),
        title=clean_line(given.title, "title", MAX_TITLE_CHARS),
        prompt=clean_line(given.prompt, "prompt", MAX_PROMPT_CHARS),
        written_on=clean_date(given.written_on),
    )
    if not pasted.parts:
        raise Unreadable(gettext("There is no text here yet. Paste something that you wrote."))
    return list(tidied(pasted))


def _look_and_keep(storage: Storage, user_id: str, voice_id: str, pieces: Sequence[Piece], harvest: Harvest) -> None:
    """What there is something to say about, or came out of a file, waits until its owner has seen it."""
    with storage.database.reading() as session:
        given = samples.list_samples(session, storage.keys, user_id, voice_id)
        room = samples.room_left(session, user_id, voice_id)
        base = base_models.current(session)
    known = [Known(each.text, each.content_mac) for each in given]
    incoming = _new_ones(storage.keys.data_key(user_id), pieces, {each.mac for each in known}, harvest)
    incoming = _within(room, incoming, harvest)
    remarks = noticed(incoming, known, base.probe.get("languages", ()) if base else ())
    for waiting in (False, True):
        some = [pair for pair in zip(incoming, remarks, strict=True) if _is_to_wait(*pair) is waiting]
        if some:
            _keep(storage, user_id, voice_id, some, waiting, harvest)


def _new_ones(key: bytes, pieces: Sequence[Piece], seen: set[str], harvest: Harvest) -> list[Incoming]:
    """Each text that is not there yet, once. A paste that is there already is not passed over in silence."""
    new = []
    for piece in pieces:
        made = draft(kept_text(piece.parts), title=piece.title, prompt=piece.prompt, written_on=piece.written_on)
        mac = content_mac(key, made.text)
        if mac not in seen:
            new.append(Incoming(piece, made, mac))
        elif piece.source:
            harvest.known += 1
        else:
            harvest.paste_error = gettext(
                "This text is already among the samples of this voice, so it was not added again."
            )
        seen.add(mac)
    return new


def _within(room: Room, incoming: Sequence[Incoming], harvest: Harvest) -> list[Incoming]:
    """As many, from the first on, as there is room for."""
    most, most_chars = room.num_samples, room.num_chars
    kept: list[Incoming] = []
    for each in incoming:
        most_chars -= len(each.draft.text)
        if len(kept) == most or most_chars < 0:
            break
        kept.append(each)
    if left := len(incoming) - len(kept):
        no_room = ngettext("There was no room for %(num)s piece.", "There was no room for %(num)s pieces.", left)
        sentence = f"{no_room} {told(room.bounds)}"
        source = incoming[len(kept)].piece.source
        if source:
            harvest.refused.append((source, sentence))
        else:
            harvest.paste_error = sentence
    return kept


def _is_to_wait(incoming: Incoming, remarks: Remarks) -> bool:
    """What came out of a file, and what there is something to say about, waits until its owner has seen it."""
    return bool(incoming.piece.source) or remarks != Remarks() or is_long(incoming.draft.text)


def _keep(
    storage: Storage,
    user_id: str,
    voice_id: str,
    some: Sequence[tuple[Incoming, Remarks]],
    waiting: bool,
    harvest: Harvest,
) -> None:
    drafts = [each.draft for each, _ in some]
    with storage.database.session() as session:
        kept = samples.add_drafts(
            session,
            storage.keys,
            user_id=user_id,
            voice_id=voice_id,
            drafts=drafts,
            noticed=[remarks for _, remarks in some],
            waiting=waiting,
        )
    if waiting:
        harvest.waiting += kept
    else:
        harvest.kept += kept
        harvest.words += sum(new.num_words for new in drafts)
