"""All that a person has here: taking a copy of it along, bringing a copy's writing in, and leaving for good."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import cast

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFProtect

from app.config import WEB_EXPORTS
from app.intake.archive import entries
from app.intake.errors import Unreadable
from app.seats import MAX_EXPORTS, HouseFull, NoSeat, Seats
from app.web import errors, intake
from app.web.session import account_required, app_config, forget, me, storage
from app.web.voice_page import MOST_UPLOAD_BYTES
from app.web.words import gettext, marked, ngettext, told
from app.web.zip_stream import zipped
from storage import audit, clock, export, reimport, samples, users, voices
from storage.errors import Conflict, InvalidExport, LimitReached

belongings = Blueprint("belongings", __name__, url_prefix="/account")
belongings.before_request(account_required)
DELETE_WORD = marked("delete")
NOT_ONES_OWN = marked(
    "Nothing was brought in. Say first that it is your own writing: a voice is trained on nobody else's."
)
NO_FILE = marked("Choose the .zip of an export first.")
DAMAGED = marked(
    "This .zip can't be read: it is damaged, locked or packed in an unusual way, or unpacks to far more than an export "
    "does. Make it again as an ordinary .zip."
)
BUSY = errors.Message(marked("A copy is being made already"), marked("Wait until it is there, then ask for another."))


def install(app: Flask, csrf: CSRFProtect) -> None:
    """Seats for those who take a copy along. The token of the form with a file is looked at in its view, as that of the
    samples form is."""
    app.extensions["exports"] = Seats(MAX_EXPORTS, "exports", in_all=WEB_EXPORTS)
    csrf.exempt(bring_in)


@belongings.get("/data")
def show() -> ResponseReturnValue:
    """What can be done with all of it."""
    return render_template("belongings.html")


@belongings.post("/export")
def take_along() -> ResponseReturnValue:
    """A copy of what an export holds, packed while it is sent."""
    held, bundle, user_id = ExitStack(), storage(), me().id
    try:
        held.enter_context(cast(Seats, current_app.extensions["exports"]).one(user_id))
    except (NoSeat, HouseFull):
        return errors.later(BUSY, 429)
    with bundle.database.session() as session:
        audit.record(session, "user.exported", actor_id=user_id, subject_id=user_id)
    answer = Response(zipped(export.entries(bundle, user_id)), mimetype="application/zip")
    answer.call_on_close(held.close)
    name = f"idiolect-{datetime.fromtimestamp(clock.now(), UTC).date().isoformat()}.zip"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


@belongings.post("/import")
def bring_in() -> ResponseReturnValue:
    """The writing of an export, all of it or nothing."""
    request.max_content_length = MOST_UPLOAD_BYTES
    with ExitStack() as held:
        try:
            held.enter_context(intake.seats().one(me().id))
        except (NoSeat, HouseFull):
            return errors.later(intake.BUSY, 429)
        cast(CSRFProtect, current_app.extensions["csrf"]).protect()
        try:
            brought = reimported()
        except (InvalidExport, LimitReached, Conflict) as wrong:
            return render_template("belongings.html", import_error=told(str(wrong))), 422
    flash(came_in(brought))
    return redirect(url_for("voices.index"))


def came_in(brought: reimport.Brought) -> str:
    """What came in, in words."""
    if brought.new_voices:
        new = ngettext("%(num)s new voice", "%(num)s new voices", brought.new_voices)
        said = ngettext(
            "%(num)s sample is here now in %(voices)s.",
            "%(num)s samples are here now in %(voices)s.",
            brought.new_samples,
            voices=new,
        )
    else:
        said = ngettext("%(num)s sample is here now.", "%(num)s samples are here now.", brought.new_samples)
    if brought.known_samples:
        said += " " + ngettext("%(num)s was there already.", "%(num)s were there already.", brought.known_samples)
    return said + " " + gettext("Train each voice to hear it.")


def reimported() -> reimport.Brought:
    """Unpack, check and keep what was sent. Raises InvalidExport, LimitReached, Conflict, with nothing kept."""
    if not request.form.get("own"):
        raise InvalidExport(gettext(NOT_ONES_OWN))
    file = request.files.get("file")
    if file is None or not (data := file.stream.read()):
        raise InvalidExport(gettext(NO_FILE))
    found = reimport.read(dict(unpacked(data)))
    with storage().database.session() as session:
        return reimport.bring_in(session, storage().keys, me().id, found)


def unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Those files of an export that are read again. Raises InvalidExport."""
    try:
        for path, content in entries(data, reimport.wants):
            if isinstance(content, Unreadable):
                raise InvalidExport(gettext(DAMAGED))
            yield path, content
    except Unreadable:
        raise InvalidExport(gettext(DAMAGED)) from None


@belongings.route("/delete", methods=["GET", "POST"])
def delete_account() -> ResponseReturnValue:
    """What goes; then, with the word typed, it goes, and a receipt says so."""
    goes = holdings()
    if request.method == "GET":
        return render_template("delete_account.html", goes=goes, word=DELETE_WORD)
    typed = request.form.get("word", "").strip().lower()
    if typed not in (DELETE_WORD, gettext(DELETE_WORD).lower()):
        error = gettext("Nothing was deleted. Type the word “%(word)s” to go on.", word=gettext(DELETE_WORD))
        return render_template("delete_account.html", goes=goes, word=DELETE_WORD, error=error, typed=typed), 422
    account_id, email = me().id, me().email
    try:
        receipt = users.erase_user(storage(), account_id, account_id)
    except Conflict as wrong:
        return render_template(
            "delete_account.html", goes=goes, word=DELETE_WORD, error=told(str(wrong)), typed=typed
        ), 409
    link = app_config().public_url + url_for("receipts.show", receipt_id=receipt.id) if receipt else None
    page = render_template("receipt.html", me=None, goes=goes, receipt=receipt, link=link, email=email)
    return forget(make_response(page))


def holdings() -> list[tuple[str, int, int, int]]:
    """Of each voice: its name, and how many samples, words and versions it has."""
    with storage().database.reading() as session:
        return [
            (
                voice.name,
                (readiness := samples.readiness(session, me().id, voice.id)).num_samples,
                readiness.num_words,
                len(voices.list_versions(session, me().id, voice.id)),
            )
            for voice in voices.list_voices(session, me().id)
        ]
