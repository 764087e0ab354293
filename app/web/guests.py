"""Trying it without an account: a guest begins with example pieces, and all of it is deleted when they leave, or when
their time is over, unless they keep it."""

from functools import cache

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.pieces.reading import BUNDLED, read_pieces
from app.web.accounts import sign_up_closed
from app.web.session import app_config, begin, find_me, me, sign_in_required, storage
from app.web.words import gettext, told
from storage import guests as guest_store
from storage import users, voices
from storage.errors import Conflict, InvalidAccount, LimitReached
from storage.text_intake import Draft, draft

guests = Blueprint("guests", __name__, url_prefix="/guest")


@guests.app_context_processor
def offered() -> dict[str, object]:
    """`guests_welcome`, for the page of who is not signed in."""
    return {"guests_welcome": app_config().max_guests > 0 and app_config().sign_up_open}


@guests.post("")
def come_in() -> ResponseReturnValue:
    """A guest's account with the example pieces, and a session. Whoever is signed in goes where they were."""
    if find_me():
        return redirect(url_for("voices.home"))
    if not app_config().sign_up_open:
        return sign_up_closed()
    try:
        with storage().database.session() as session:
            guest = guest_store.welcome(session, storage().keys, app_config().max_guests, examples())
            (voice,) = voices.list_voices(session, guest.id)
    except LimitReached as wrong:
        flash(told(str(wrong)), "error")
        return redirect(url_for("voices.home"))
    return begin(redirect(url_for("voices.show", voice_id=voice.id)), guest.id)


@guests.route("/keep", methods=["GET", "POST"])
def keep() -> ResponseReturnValue:
    """The form; then the account is the person's own, with everything in it."""
    if (elsewhere := sign_in_required()) is not None:
        return elsewhere
    if me().guest_until is None:
        return redirect(url_for("settings.account"))
    if not app_config().sign_up_open:
        return sign_up_closed()
    if request.method == "GET":
        return render_template("guest_keep.html", email="")
    email = request.form.get("email", "")
    try:
        password_hash = users.hashed_password(request.form.get("password", ""))
        with storage().database.session() as session:
            guest_store.keep(session, me().id, email=email, password_hash=password_hash)
    except (Conflict, InvalidAccount) as wrong:
        return render_template("guest_keep.html", email=email, error=told(str(wrong))), 422
    answer = begin(redirect(url_for("voices.home")), me().id)  # a fresh session, so news come after it
    flash(gettext("This account is yours now, with everything in it."))
    return answer


@cache
def examples() -> tuple[Draft, ...]:
    """The bundled pieces, by a made-up author."""
    return tuple(
        draft(piece.text, title=_title(piece.title or ""), prompt=piece.prompt, written_on=piece.written_on)
        for piece in read_pieces(BUNDLED)
    )


def _title(name: str) -> str:
    """ "01-the-first-bell" -> "The first bell"."""
    words = name.lstrip("0123456789-").replace("-", " ")
    return words[:1].upper() + words[1:]
