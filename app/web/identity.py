"""The way to another sign-in service and back: signing in with it, and connecting it to an account that is there.

An account is found by the service's own name for its person, and never by an address: whoever has signed up here with
somebody's address must not get into what that somebody does later, nor the other way round.
"""

import logging
import time
from typing import Any, cast

from flask import Blueprint, Flask, abort, current_app, flash, redirect, render_template, request, url_for
from flask import session as form_session
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import ValidationError, validate_csrf

from app.config import AppConfig
from app.errors import SignInRefused, SignInUnavailable
from app.web.oidc import Begun, Known, SignInService
from app.web.session import begin, find_me, local_path, storage
from app.web.words import gettext, marked, told
from storage import identities
from storage.errors import Conflict, InvalidAccount
from storage.models import User

identity = Blueprint("identity", __name__, url_prefix="/signin")
KEPT = "oidc"
UNDER_WAY_S = 600.0
SUSPENDED = marked("This account is suspended. An administrator can tell you why, and lift it.")
UNAVAILABLE = marked(
    "%(name)s does not answer as it should just now. Try again in a minute; a password works meanwhile."
)
REFUSED = marked("You were not signed in by %(name)s. Start again from here.")
NO_ADDRESS = marked(
    "%(name)s has not confirmed an e-mail address of yours, so no account was made. Confirm it there, and come again."
)
TAKEN = marked(
    "There is an account with your address here. Sign in with its password, or choose one with "
    "the link that you were given; then connect %(name)s under Account."
)
logger = logging.getLogger(__name__)


def install(app: Flask, config: AppConfig) -> None:
    """Know the configured service, if there is one."""
    app.extensions["sign_in_service"] = SignInService(config) if config.oidc_issuer else None


def service() -> SignInService | None:
    """What people may sign in with besides a password."""
    return cast("SignInService | None", current_app.extensions["sign_in_service"])


def wanted_service() -> SignInService:
    """The same, in views that are there only with it."""
    return service() or abort(404)


@identity.get("/with")
def leave() -> ResponseReturnValue:
    """Off to the service; to connect it only with the token of a page of this session."""
    wanted, begun = wanted_service(), Begun.anew()
    try:
        address = wanted.address(begun)
    except SignInUnavailable as away:
        return refuse(UNAVAILABLE, 502, away)
    form_session[KEPT] = {
        **vars(begun),
        "at": time.time(),
        "onward": local_path(request.args.get("next", "")),
        "connects": connecting_user_id(),
    }
    return redirect(address)


@identity.get("/back")
def come_back() -> ResponseReturnValue:
    """Back from the service: into the account that it leads to, a new one, or one's own that it is now connected to."""
    wanted, kept = wanted_service(), cast(dict[str, Any], form_session.pop(KEPT, {}))
    if not kept or kept["state"] != request.args.get("state") or kept["at"] < time.time() - UNDER_WAY_S:
        return refuse(REFUSED, 400, SignInRefused("state"))
    try:
        begun = Begun(kept["state"], kept["nonce"], kept["verifier"])
        known = wanted.know(begun, request.args.get("code", ""))
    except SignInRefused as wrong:
        return refuse(REFUSED, 401, wrong)
    except SignInUnavailable as away:
        return refuse(UNAVAILABLE, 502, away)
    return connect(known, kept["connects"]) if kept["connects"] else enter(known, kept["onward"])


def connecting_user_id() -> str | None:
    """Whose account is to be connected; None: somebody wants to sign in. Aborts where the page's token is missing: a
    link from elsewhere must not connect anything."""
    token = request.args.get("connect")
    if token is None:
        return None
    user = find_me()
    try:
        validate_csrf(token)
    except ValidationError:
        abort(400)
    if user is None:
        abort(401)
    return user.id if user.guest_until is None else abort(403)


def connect(known: Known, user_id: str) -> ResponseReturnValue:
    """Connect the account that asked for it, if it still does."""
    user = find_me()
    if user is None or user.id != user_id or user.guest_until is not None:
        return refuse(REFUSED, 401, SignInRefused("another account"))
    try:
        with storage().database.session() as session:
            identities.connect(session, user.id, known.issuer, known.subject)
    except Conflict as wrong:
        flash(told(str(wrong)), "error")
    else:
        flash(gettext("Connected: you can sign in with %(service)s from now on.", service=wanted_service().name))
    return redirect(url_for("access.show"))


def enter(known: Known, onward: str | None) -> ResponseReturnValue:
    """Begin a session in the account that this name leads to, or in a new one."""
    with storage().database.reading() as session:
        user = identities.find_user(session, known.issuer, known.subject)
    if user is None:
        if known.email is None:
            return refuse(NO_ADDRESS, 403)
        try:
            user = sign_up(known, known.email)
        except (Conflict, InvalidAccount):
            return refuse(TAKEN, 409)
    if user.state != "active":
        return refuse(SUSPENDED, 403)
    return begin(redirect(onward or url_for("voices.home")), user.id)


def sign_up(known: Known, email: str) -> User:
    """A new account for who came back. Raises Conflict, InvalidAccount."""
    with storage().database.session() as session:
        return identities.sign_up(session, storage().keys, issuer=known.issuer, subject=known.subject, email=email)


def refuse(sentence: str, status: int, wrong: Exception | None = None) -> ResponseReturnValue:
    """The sign-in page, with what went wrong."""
    if wrong:
        logger.warning("signing in with the other service: %s (%s)", type(wrong).__name__, wrong)
    used = wanted_service()
    refusal = gettext(sentence, name=used.name)
    return render_template("signin.html", email="", onward=None, refusal=refusal, service=used), status
