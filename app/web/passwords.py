"""The way back in for whoever has lost a password: asking for a link, and choosing another password with one.

Whether an address is known is told to nobody: the answer is the same, and out before anything is looked up.
"""

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.web.session import forget, post_config, storage
from app.web.words import gettext, told
from storage import deliveries, password_links, users
from storage.errors import InvalidAccount
from storage.models import User

passwords = Blueprint("passwords", __name__, url_prefix="/password")


@passwords.route("/forgotten", methods=["GET", "POST"])
def forgotten() -> ResponseReturnValue:
    """Ask for a letter with a link; where no mail is sent, whom else to ask."""
    sends_mail = post_config().sends_mail
    if request.method == "GET" or not sends_mail:
        return render_template("password_forgotten.html", sends_mail=sends_mail)
    bundle, email = storage(), request.form.get("email", "")

    def look_for() -> None:
        with bundle.database.session() as session:
            deliveries.ask_for_reset(session, email)

    answer = make_response(render_template("password_forgotten.html", sends_mail=True, asked_for=email))
    answer.call_on_close(look_for)
    return answer


@passwords.route("/new", methods=["GET", "POST"])
def choose() -> ResponseReturnValue:
    """Choose another password with a link; every browser is signed out, this one too."""
    token = request.values.get("token", "")
    with storage().database.reading() as session:
        user = password_links.holder(session, token)
        first = user is not None and not users.has_way_in(session, user)
    if user is None:
        return render_template("password_new.html", user=None), 404
    if request.method == "GET":
        return render_template("password_new.html", user=user, token=token, first=first)
    try:
        changed = change(token, first)
    except InvalidAccount as wrong:
        return render_template("password_new.html", user=user, token=token, first=first, error=told(str(wrong))), 422
    if changed is None:
        return render_template("password_new.html", user=None), 404
    answer = forget(redirect(url_for("accounts.sign_in")))
    if first:
        flash(gettext("Your password is chosen. Sign in with it."))
        return answer
    flash(
        gettext(
            "Your password is changed. Every browser is signed out, and API keys, connected sign-ins and notices from "
            "before are gone, since they might be somebody else's. Sign in with the new one."
        )
    )
    return answer


def change(token: str, first: bool) -> User | None:
    """Use the link up, and tell its owner by mail where mail is sent and something was replaced."""
    with storage().database.session() as session:
        user = password_links.choose_password(session, token, request.form.get("password", ""))
        if user is not None and post_config().sends_mail and not first:
            deliveries.add(session, user.id, "password_changed", "mail")
    return user
