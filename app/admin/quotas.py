"""What one person may have and use: seen by every administrator, set by owners."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.admin.gate import needs
from app.web.limits import LABELS
from app.web.session import me, storage
from app.web.words import gettext, marked, told
from storage import quotas as quota_store
from storage import users
from storage.errors import Conflict
from storage.quotas import KINDS, Kind

quotas = Blueprint("quotas", __name__, url_prefix="/users/<user_id>/quotas")
NOT_A_NUMBER = marked("Write whole numbers, or leave a field empty. Nothing was changed.")


@quotas.get("")
@needs("owner")
def edit(user_id: str, error: str = "") -> ResponseReturnValue:
    """The form, with what was typed when something was wrong with it."""
    with storage().database.reading() as session:
        user = users.get_user(session, user_id)
        own = quota_store.own_numbers(session, user_id)
        defaults = quota_store.defaults(session)
        standings = quota_store.standings(session, user_id)
    kept = {kind: "" if number is None else str(number) for kind, number in own.items()}
    page = render_template(
        "admin/quotas.html",
        user=user,
        standings=standings,
        defaults=vars(defaults),
        typed={kind: request.form.get(kind, "") for kind in KINDS} if error else kept,
        labels=LABELS,
        error=error,
    )
    return page, 422 if error else 200


@quotas.post("/set")
@needs("owner")
def change(user_id: str) -> ResponseReturnValue:
    """Set all of them; an empty field is the platform's default."""
    try:
        numbers = {kind: _number(kind) for kind in KINDS}
        with storage().database.session() as session:
            changed = quota_store.set_own(session, user_id, numbers, me().id)
    except ValueError:
        return edit(user_id, error=gettext(NOT_A_NUMBER))
    except Conflict as wrong:
        return edit(user_id, error=told(str(wrong)))
    flash(
        gettext("Set, from their next request on.") if changed else gettext("Nothing was changed: it was so already.")
    )
    return redirect(url_for("admin.users.show", user_id=user_id, _anchor="quotas"))


def _number(kind: Kind) -> int | None:
    given = request.form.get(kind, "").strip().replace(",", "")
    return int(given) if given else None
