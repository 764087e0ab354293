"""The prefix cache: does it answer, how full is it, how often does it save a read of the database; emptying it. What
each API process holds in its own memory is not known here."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.admin.gate import needs
from app.web.session import me, storage
from app.web.words import gettext, ngettext
from storage import prefixes, users
from storage.errors import CacheUnavailable

cache = Blueprint("cache", __name__, url_prefix="/cache")


@cache.get("")
@needs("auditor")
def show() -> ResponseReturnValue:
    """Its figures. Keys and values are never listed."""
    bundle = storage()
    return render_template("admin/cache.html", cache=bundle.cache.figures(), ttl_s=bundle.config.cache_ttl_s)


@cache.post("/evict")
@needs("operator")
def evict() -> ResponseReturnValue:
    """Empty it, or take one person's prefixes out of it."""
    user_id = request.form.get("user") or None
    back = url_for("admin.users.show", user_id=user_id) if user_id else url_for("admin.cache.show")
    if user_id is not None:
        with storage().database.reading() as session:
            users.get_user(session, user_id)
    try:
        gone = prefixes.evict_cached(storage(), me().id, user_id)
    except CacheUnavailable:
        flash(gettext("The cache does not answer, so nothing was taken out of it."), "error")
        return redirect(back)
    flash(
        ngettext(
            "One entry was taken out. Each comes back from the database at its next request.",
            "%(num)s entries were taken out. Each comes back from the database at its next request.",
            gone,
        )
    )
    return redirect(back)
