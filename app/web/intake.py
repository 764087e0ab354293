"""How writing comes in: the form's way to the harvest, and the page where people look through what waits.

Parses, limits, renders; what becomes of a form's content is harvest.py's.
"""

from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import cast

from flask import Blueprint, Flask, current_app, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFProtect

from app.config import WEB_UPLOADS
from app.intake.reading import GivenFile
from app.intake.splitting import is_long
from app.seats import MAX_UPLOADS, HouseFull, NoSeat, Seats
from app.web import errors, remark_lines, voice_page
from app.web.harvest import Given, Harvest, gather
from app.web.session import app_config, me, sign_in_required, storage
from app.web.words import gettext, marked, ngettext
from storage import sample_changes
from storage import samples as sample_store
from storage import voices as voice_store

intake = Blueprint("intake", __name__, url_prefix="/voices/<voice_id>/samples")
intake.before_request(sign_in_required)
FIELDS = ("text", "title", "prompt", "written_on")
PIECES_A_PAGE = 50
BUSY = errors.Message(
    marked("Files are being read already"),
    marked("Wait until the ones before are done, then go back and add these once more."),
)


def install(app: Flask, csrf: CSRFProtect) -> None:
    """Seats for reading files in this process. The token of this one form is looked at in its view: a large body has to
    be read for it, and is not before its sender has a seat."""
    app.extensions["intake"] = Seats(MAX_UPLOADS, "uploads", in_all=WEB_UPLOADS)
    csrf.exempt(add)


def seats() -> Seats:
    """Of those whose files are read at once."""
    return cast(Seats, current_app.extensions["intake"])


@intake.post("")
def add(voice_id: str) -> ResponseReturnValue:
    """Keep the pasted text; read every file, and say of each bad one what to do."""
    request.max_content_length = voice_page.MOST_UPLOAD_BYTES
    large = request.content_length is None or request.content_length > app_config().max_body_bytes
    with ExitStack() as held:
        try:
            if large:
                held.enter_context(seats().one(me().id))
            cast(CSRFProtect, current_app.extensions["csrf"]).protect()
            if request.files and not large:
                held.enter_context(seats().one(me().id))
        except (NoSeat, HouseFull):
            return errors.later(BUSY, 429)
        with storage().database.reading() as session:
            voice_store.get_voice(session, me().id, voice_id)
        harvest = gather(storage(), me().id, voice_id, given())
    return answer(voice_id, harvest)


@intake.get("")
def review(voice_id: str) -> ResponseReturnValue:
    """What waits to be looked at; where nothing does, the voice's page."""
    page = review_page(voice_id, request.args.get("page", 1, type=int))
    return page or redirect(url_for("voices.show", voice_id=voice_id))


@intake.post("/decide")
def decide(voice_id: str) -> ResponseReturnValue:
    """Take what is ticked into the next training; keep the rest of what was shown, and leave it out."""
    seen, take = (request.form.getlist(name)[:PIECES_A_PAGE] for name in ("seen", "take"))
    with storage().database.session() as session:
        taken, left_out = sample_changes.decide(session, me().id, voice_id, seen, take)
    said = ngettext(
        "%(num)s piece is used for training from now on.", "%(num)s pieces are used for training from now on.", taken
    )
    if left_out:
        said += " " + ngettext("%(num)s is kept and left out.", "%(num)s are kept and left out.", left_out)
    flash(said)
    return redirect(url_for("intake.review", voice_id=voice_id))


@intake.post("/discard")
def discard(voice_id: str) -> ResponseReturnValue:
    """Delete all that waits."""
    with storage().database.session() as session:
        gone = sample_changes.discard_waiting(session, me().id, voice_id)
    deleted = ngettext("%(num)s piece is deleted.", "%(num)s pieces are deleted.", gone)
    flash(f"{deleted} {gettext('What you had kept before is still there.')}")
    return redirect(url_for("voices.show", voice_id=voice_id))


def given() -> Given:
    """What the form holds. Raises RequestEntityTooLarge."""
    typed = " ".join(request.form.getlist("addresses")).replace(",", " ").replace(";", " ")
    addresses = {word.strip("<>").lower() for word in typed.split() if "@" in word}
    return Given(
        files=[
            GivenFile(PurePosixPath(file.filename.replace("\\", "/")).name or "file", file.stream.read())
            for file in request.files.getlist("files")
            if file.filename
        ],
        addresses=frozenset(addresses or {me().email}),
        **{name: request.form.get(name, "") for name in FIELDS},
    )


def answer(voice_id: str, harvest: Harvest) -> ResponseReturnValue:
    """Onward where all went well, else a page that says what did not and keeps what was typed."""
    if not harvest.went_wrong and not harvest.noted:
        flash(harvest.sentence or gettext("There was no writing in it."))
        return redirect(url_for("intake.review", voice_id=voice_id))
    status = 422 if harvest.went_wrong else 200
    page = None if harvest.paste_error else review_page(voice_id, 1, harvest=harvest)
    if page is None:
        kept = (*FIELDS, "addresses") if harvest.paste_error else ("addresses",)
        typed = {name: request.form.get(name, "") for name in kept}
        page = voice_page.show(voice_id, typed=typed, harvest=harvest)
    return page, status


def review_page(voice_id: str, page: int, harvest: Harvest | None = None) -> str | None:
    """One page of what waits; None when nothing does. Raises NotFound for another's voice."""
    keys = storage().keys
    with storage().database.reading() as session:
        voice = voice_store.get_voice(session, me().id, voice_id)
        shown, page, count = sample_store.page_of(
            session, keys, me().id, voice_id, waiting=True, page=page, size=PIECES_A_PAGE
        )
        lines = remark_lines.of(session, keys, voice, shown)
    if not count:
        return None
    return render_template(
        "review.html",
        voice=voice,
        shown=shown,
        count=count,
        page=page,
        num_pages=-(-count // PIECES_A_PAGE),
        lines=lines,
        long={sample.id for sample in shown if is_long(sample.text)},
        harvest=harvest,
    )
