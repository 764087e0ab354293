"""By which ways a person is told that a training has ended, and what became of the latest letters and notices."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.web.session import account_required, me, post_config, storage
from storage import deliveries
from storage import notices as notice_store
from storage.errors import InvalidWebhook
from storage.models import Delivery

notices = Blueprint("notices", __name__, url_prefix="/account/notices")
notices.before_request(account_required)
NEWEST = 5
KINDS = {
    "password_reset": "A link to choose a password",
    "password_changed": "That your password was changed",
    "run_ended": "That a training has ended",
}
REASONS = {
    "refused": "refused by the mail server",
    "no_tls": "no safe connection",
    "not_let_in": "the mail server did not let us in",
    "unreachable": "nobody answered",
    "no_mail_server": "this platform sends no mail",
    "unknown_name": "its name leads nowhere",
    "private_address": "its name leads to a private address",
    "gone": "no longer wanted",
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
        return notices_page(typed=typed, by_mail=by_mail, error=str(wrong)), 422
    with storage().database.session() as session:
        notice_store.save(session, storage().keys, me().id, by_mail=by_mail, webhook_url=url)
    flash("Saved. It holds for every training that ends from now on.")
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
        latest=[(delivery, KINDS[delivery.kind], outcome(delivery)) for delivery in latest],
        error=error,
    )


def outcome(delivery: Delivery) -> str:
    """What became of it, in a few words."""
    if delivery.delivered_at is not None:
        return "delivered"
    if delivery.error is None:
        return "on its way"
    reason = REASONS.get(delivery.error, delivery.error.replace("_", " "))
    return f"{reason}; it is tried again" if delivery.due_at is not None else f"given up: {reason}"
