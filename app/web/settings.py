"""A person's account: API keys and what they are used for. How they sign in is in access.py, what they take with
them in belongings.py."""

from collections.abc import Sequence

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.web import usage_chart
from app.web.session import account_required, app_config, me, storage
from app.web.words import gettext, marked, told
from storage import api_keys, usage, voices
from storage.errors import LimitReached

settings = Blueprint("settings", __name__)
settings.before_request(account_required)
MAX_NAME_CHARS = 80
USAGE_DAYS = 30
USAGE_LINES = 60
SCOPES = {  # scope -> what it lets a program do
    "generate": marked("Write text with your voices"),
    "samples": marked("Add, change and delete voices, samples and files"),
    "tuning": marked("Train voices, and pause and stop trainings"),
    "read": marked("Look at everything here, your samples' text too"),
}
NO_SCOPE = marked("Choose at least one thing that the key may do. No key was made.")


@settings.get("/account")
def account() -> ResponseReturnValue:
    """Keys, and what they were used for."""
    return account_page()


@settings.post("/account/keys")
def create_key() -> ResponseReturnValue:
    """A new API key. Its secret is on this page and nowhere else, ever."""
    name = request.form.get("name", "").strip()[:MAX_NAME_CHARS]
    chosen = [scope for scope in api_keys.SCOPES if scope in request.form.getlist("scope")]
    if not chosen:
        return account_page(name=name, chosen=chosen, key_error=gettext(NO_SCOPE)), 422
    try:
        with storage().database.session() as session:
            key, secret = api_keys.create_key(session, me().id, name or gettext("My key"), chosen)
            owned = voices.list_voices(session, me().id)
    except LimitReached as wrong:
        return account_page(name=name, chosen=chosen, key_error=told(str(wrong))), 422
    return render_template(
        "key.html",
        key=key,
        may=chosen,
        secret=secret,
        voice=owned[0] if owned else None,
        base_url=f"{app_config().public_url}/v1",
    )


@settings.post("/account/keys/<key_id>/revoke")
def revoke_key(key_id: str) -> ResponseReturnValue:
    """Stop a key from working."""
    with storage().database.session() as session:
        api_keys.revoke_key(session, me().id, key_id, actor_id=me().id)
    flash(gettext("The key is revoked: requests that carry it are refused from now on."))
    return redirect(url_for("settings.account"))


def account_page(*, name: str = "", chosen: Sequence[str] = api_keys.SCOPES, **errors: str) -> str:
    """The account page, with what went wrong in one of its forms, and what was typed for a new key."""
    with storage().database.reading() as session:
        keys = api_keys.list_keys(session, me().id)
        used = usage.list_usage(session, me().id, days=USAGE_DAYS, limit=USAGE_LINES + 1)
        by_day, by_key, by_model = (
            usage.totals(session, me().id, days=USAGE_DAYS, by=by) for by in ("day", "key_id", "model")
        )
        voice_names = {voice.id: voice.name for voice in voices.list_voices(session, me().id)}
    return render_template(
        "account.html",
        keys=[(key, api_keys.scopes_of(key)) for key in keys],
        scopes=SCOPES,
        name=name,
        chosen=chosen,
        used=used[:USAGE_LINES],
        more_used=len(used) > USAGE_LINES,
        usage_days=USAGE_DAYS,
        chart=usage_chart.draw(usage.days_until_today(USAGE_DAYS), by_day),
        by_key=by_key,
        by_model=by_model,
        key_names={key.id: key.name for key in keys} | {usage.PAGES: gettext("the writing page")},
        voice_names=voice_names,
        **errors,
    )
