"""The doors: sign up, sign in, sign out, the first administrator's link. What an account holds is in settings.py."""

import hmac
from contextlib import suppress

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.web import identity
from app.web.session import app_config, begin, find_me, finish, forget, local_path, storage
from app.web.words import gettext, marked, told
from storage import crypto, first_administrator, users
from storage.errors import Conflict, InvalidAccount, NotFound

accounts = Blueprint("accounts", __name__)
WRONG_PAIR_CLOSED = marked("That address and password don't go together. Check both.")
WRONG_PAIR = marked("That address and password don't go together. Check both, or sign up if you have no account yet.")


@accounts.app_context_processor
def offered() -> dict[str, object]:
    """`sign_up_open`, for the pages of who is not signed in."""
    return {"sign_up_open": app_config().sign_up_open}


@accounts.route("/signup", methods=["GET", "POST"])
def sign_up() -> ResponseReturnValue:
    """The form; then the account, its first voice, and a session."""
    if request.method == "GET" and find_me():
        return redirect(url_for("voices.home"))
    if not app_config().sign_up_open:
        return sign_up_closed()
    if request.method == "GET":
        return render_template("signup.html", email="")
    try:
        with storage().database.session() as session:
            user = users.sign_up(session, storage().keys, email=typed("email"), password=typed("password"))
    except (Conflict, InvalidAccount) as wrong:
        return render_template("signup.html", email=request.form.get("email", ""), error=told(str(wrong))), 422
    return begin(redirect(url_for("voices.home")), user.id)


def sign_up_closed() -> ResponseReturnValue:
    """Whom else to ask, where accounts are not made by whoever comes."""
    return render_template("signup.html", service=identity.service()), 403


@accounts.route("/signin", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    """The form; then a session, and on to where the person was going."""
    onward = local_path(request.values.get("next", ""))
    if request.method == "GET":
        return redirect(onward or url_for("voices.home")) if find_me() else sign_in_page(onward)
    with storage().database.session() as session:
        user = users.verify_password(session, request.form.get("email", ""), request.form.get("password", ""))
    if user is None:
        wrong_pair = WRONG_PAIR if app_config().sign_up_open else WRONG_PAIR_CLOSED
        return sign_in_page(onward, gettext(wrong_pair)), 401
    if user.state != "active":
        return sign_in_page(onward, gettext(identity.SUSPENDED)), 403
    return begin(redirect(onward or url_for("voices.home")), user.id)


@accounts.post("/signout")
def sign_out() -> ResponseReturnValue:
    """End this browser's session; of a guest nothing is left."""
    user = find_me()
    if user is not None and user.guest_until is not None:
        with suppress(NotFound):  # kept, or gone, in this moment
            users.erase_user(storage(), user.id, user.id, guest_until=user.guest_until)
        answer = forget(redirect(url_for("voices.home")))
        flash(gettext("Everything from your visit is deleted."))
        return answer
    return finish(redirect(url_for("voices.home")))


@accounts.route("/setup", methods=["GET", "POST"])
def set_up() -> ResponseReturnValue:
    """The first administrator's account, for whoever holds the link that the platform printed; works once."""
    given = request.values.get("token", "")
    if not hmac.compare_digest(given.encode(), setup_token().encode()):
        abort(404)
    if request.method == "GET":
        with storage().database.reading() as session:
            used = users.has_admin(session)
        return link_used() if used else render_template("setup.html", token=given, email="")
    try:
        with storage().database.session() as session:
            email, password = typed("email"), typed("password")
            user = first_administrator.sign_up_first(session, storage().keys, email=email, password=password)
    except (Conflict, InvalidAccount) as wrong:
        return render_template(
            "setup.html", token=given, email=request.form.get("email", ""), error=told(str(wrong))
        ), 422
    return begin(redirect("/admin/"), user.id) if user else link_used()


def link_used() -> ResponseReturnValue:
    """What whoever comes second sees."""
    return render_template("setup.html", used=True), 409


def setup_token() -> str:
    """What the first administrator's link carries: only who holds the master key can make it."""
    return crypto.derive(storage().config.master_key, "first administrator").hex()


def typed(field: str) -> str:
    """What stands in this field of the form."""
    return request.form.get(field, "")


def sign_in_page(onward: str | None, error: str = "") -> str:
    """The sign-in form, with the address that was typed."""
    service = identity.service()
    return render_template(
        "signin.html", email=request.form.get("email", ""), onward=onward, error=error, service=service
    )
