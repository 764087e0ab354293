"""By which ways a person is told that a training has ended, and what became of the latest letters and notices."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.web.session import account_required, me, post_config, storage
from app.web.words import gettext, marked, told
from storage import deliveries
from storage import notices as notice_store
from storage.errors import InvalidWebhook
from storage.models import Delivery

notices = Blueprint("notices", __name__, url_prefix="/account/notices")
notices.before_request(account_required)
NEWEST = 5
KINDS = {
    "password_reset": marked("A link to choose a password"),
    "password_link_made": marked("That an administrator made a password link"),
    "password_changed": marked("That your password was changed"),
    "run_ended": marked("That a training has ended"),
}
REASONS = {
    "refused": marked("refused by the mail server"),
    "no_tls": marked("no safe connection"),
    "not_let_in": marked("the mail server did not let us in"),
    "unreachable": marked("nobody answered"),
    "no_mail_server": marked("this platform sends no mail"),
    "unknown_name": marked("its name leads nowhere"),
    "private_address": marked("its name leads to a private address"),
    "gone": marked("no longer wanted"),
}


@notices.get("")
def show() -> ResponseReturnValue:
    """What is wanted, and what became of it."""
    return notices_page()


@notices.post("")
def save() -> ResponseReturnValue:
    """Be told by these ways from now on."""
    by_mail, typed = bool(request.form.get("by_mail")), request.form.get("webhook_url", "").strip()
    try:
        url = notice_store.clean_url(typed, inside=post_config().goes_inside) if typed else ""
    except InvalidWebhook as wrong:
        return notices_page(typed=typed, by_mail=by_mail, error=told(str(wrong))), 422
    with storage().database.session() as session:
        notice_store.save(session, storage().keys, me().id, by_mail=by_mail, webhook_url=url)
    flash(gettext("Saved. It holds for every training that ends from now on."))
    return redirect(url_for("notices.show"))


def notices_page(typed: str | None = None, by_mail: bool | None = None, error: str = "") -> str:
    """The page, with what was typed where that can't be kept."""
    with storage().database.reading() as session:
        wanted = notice_store.read(session, storage().keys, me().id)
        latest = deliveries.newest(session, me().id, NEWEST)
    kept_url = wanted.webhook.url if wanted.webhook else ""
    return render_template(
        "notices.html",
        by_mail=wanted.by_mail if by_mail is None else by_mail,
        webhook_url=kept_url if typed is None else typed,
        webhook=wanted.webhook,
        sends_mail=post_config().sends_mail,
        latest=[(delivery, gettext(KINDS[delivery.kind]), outcome(delivery)) for delivery in latest],
        error=error,
    )


def outcome(delivery: Delivery) -> str:
    """What became of it, in a few words."""
    if delivery.delivered_at is not None:
        return gettext("delivered")
    if delivery.error is None:
        return gettext("on its way")
    reason = gettext(REASONS[delivery.error]) if delivery.error in REASONS else delivery.error.replace("_", " ")
    if delivery.due_at is not None:
        return gettext("%(reason)s; it is tried again", reason=reason)
    return gettext("given up: %(reason)s", reason=reason)
