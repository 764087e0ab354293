"""How a person gets into their account: the browsers that are signed in, the password, and another sign-in service."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.web import browser_names, identity
from app.web.session import account_required, begin, me, post_config, storage, token
from app.web.words import gettext, marked, ngettext, told
from storage import deliveries, identities, users, web_sessions
from storage.errors import InvalidAccount

access = Blueprint("access", __name__, url_prefix="/account")
access.before_request(account_required)
access.add_app_template_filter(browser_names.in_words, "browser")
WRONG_PASSWORD = marked("The present password is not right.")


@access.get("/access")
def show() -> ResponseReturnValue:
    """Browsers, password and sign-in service."""
    return access_page()


@access.post("/sessions/<session_id>/end")
def end_session(session_id: str) -> ResponseReturnValue:
    """Sign one browser out."""
    with storage().database.session() as session:
        web_sessions.end_one(session, me().id, session_id)
    flash(gettext("That browser is signed out."))
    return redirect(url_for("access.show"))


@access.post("/sessions/end-others")
def end_other_sessions() -> ResponseReturnValue:
    """Sign every browser but this one out."""
    with storage().database.session() as session:
        count = web_sessions.end_others(session, me().id, token())
    flash(
        ngettext(
            "%(num)s browser is signed out; this one stays.", "%(num)s browsers are signed out; this one stays.", count
        )
    )
    return redirect(url_for("access.show"))


@access.post("/password")
def change_password() -> ResponseReturnValue:
    """A new password, which signs out every other browser."""
    new = request.form.get("new_password", "")
    with storage().database.session() as session:
        known = users.verify_password(session, me().email, request.form.get("password", ""))
    if known is None:
        return access_page(password_error=gettext(WRONG_PASSWORD)), 422
    try:
        with storage().database.session() as session:
            users.change_password(session, me().id, new)
            web_sessions.end_all(session, me().id)
            if post_config().sends_mail:
                deliveries.add(session, me().id, "password_changed", "mail")
    except InvalidAccount as wrong:
        return access_page(password_error=told(str(wrong))), 422
    answer = begin(redirect(url_for("access.show")), me().id)
    flash(gettext("Your password is changed, and every other browser is signed out."))
    return answer


@access.post("/identity/disconnect")
def disconnect() -> ResponseReturnValue:
    """Let the other sign-in service lead here no longer."""
    service = identity.wanted_service()
    with storage().database.session() as session:
        identities.disconnect(session, me().id, service.issuer)
    flash(gettext("%(service)s leads to your account no longer. You sign in with your password.", service=service.name))
    return redirect(url_for("access.show"))


def access_page(**errors: str) -> str:
    """The page, with what went wrong in one of its forms."""
    service = identity.service()
    with storage().database.reading() as session:
        browsers = web_sessions.list_sessions(session, me().id, token())
        connected = service and identities.find_issuer(session, me().id, service.issuer)
    return render_template(
        "access.html",
        browsers=browsers,
        service=service,
        connected=connected,
        sends_mail=post_config().sends_mail,
        **errors,
    )
