"""Users: find one, see their keys' metadata, voices and runs; suspend, let back in, make administrator, let choose a
new password, erase."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.web.session import app_config, me, storage
from storage import api_keys, audit, overview, password_links, tuning_runs, usage, voices
from storage import users as user_store
from storage.errors import Conflict
from storage.models import Role, User, UserState

users = Blueprint("users", __name__, url_prefix="/users")
PAGE = 50
NEWEST_RUNS = 10
USAGE_DAYS = 30
USAGE_LINES = 60
NEWS: dict[UserState | Role, str] = {
    "suspended": "Suspended. Their sessions and API keys stopped working; nothing of theirs was deleted.",
    "active": "Active again. They can sign in, and their API keys work.",
    "admin": "An administrator now. They find the console in their menu at once.",
    "writer": "A writer again. The console is closed to them from now on; nothing of theirs was deleted.",
}
NOT_YOURSELF = "You can't do that to your own account. Ask another administrator."


@users.get("")
def index() -> ResponseReturnValue:
    """Everybody, newest first, or whoever's address or id holds what was searched for."""
    query, after = request.args.get("q", "").strip(), request.args.get("after")
    with storage().database.reading() as session:
        found = user_store.list_users(session, query=query, after=after, limit=PAGE + 1)
    more = found[PAGE - 1].id if len(found) > PAGE else None
    return render_template("admin/users.html", users=found[:PAGE], query=query, more=more, first=after is None)


@users.get("/<user_id>")
def show(user_id: str, typed: str = "", error: str = "") -> ResponseReturnValue:
    """One person: figures and states, no text."""
    with storage().database.reading() as session:
        shown: dict[str, Any] = {
            "user": user_store.get_user(session, user_id),
            "holdings": overview.read_holdings(session, user_id),
            "keys": [(key, api_keys.scopes_of(key)) for key in api_keys.list_keys(session, user_id)],
            "used": usage.list_usage(session, user_id, days=USAGE_DAYS, limit=USAGE_LINES),
            "voices": [
                (voice, voices.list_versions(session, user_id, voice.id))
                for voice in voices.list_voices(session, user_id)
            ],
            "runs": tuning_runs.list_runs(session, user_id, limit=NEWEST_RUNS),
            "trail": audit.list_events(session, subject_id=user_id, limit=NEWEST_RUNS),
        }
    names = {key.id: f"{key.hint} {key.name}" for key, _ in shown["keys"]} | {usage.PAGES: "the writing page"}
    page = render_template(
        "admin/user.html",
        **shown,
        key_names=names,
        usage_days=USAGE_DAYS,
        usage_lines=USAGE_LINES,
        typed=typed,
        error=error,
    )
    return page, 422 if error else 200


@users.post("/<user_id>/suspend")
def suspend(user_id: str) -> ResponseReturnValue:
    """Shut a person out at once; nothing of theirs is lost."""
    if user_id == me().id:
        flash(NOT_YOURSELF, "error")
    else:
        change(user_id, "suspended", "user.suspended")
    return redirect(url_for("admin.users.show", user_id=user_id))


@users.post("/<user_id>/unsuspend")
def unsuspend(user_id: str) -> ResponseReturnValue:
    """Let a person back in."""
    change(user_id, "active", "user.unsuspended")
    return redirect(url_for("admin.users.show", user_id=user_id))


@users.post("/<user_id>/make-administrator")
def make_administrator(user_id: str) -> ResponseReturnValue:
    """Let a person into the console."""
    change(user_id, "admin", "user.made_administrator")
    return redirect(url_for("admin.users.show", user_id=user_id))


@users.post("/<user_id>/make-writer")
def make_writer(user_id: str) -> ResponseReturnValue:
    """Shut an administrator out of the console; nothing of theirs is lost."""
    if user_id == me().id:
        flash(NOT_YOURSELF, "error")
    else:
        change(user_id, "writer", "user.made_writer")
    return redirect(url_for("admin.users.show", user_id=user_id))


def change(user_id: str, wanted: UserState | Role, action: str) -> None:
    """Set it and say so in the audit trail, in one transaction; nothing when it is so already. Raises NotFound."""
    try:
        with storage().database.session() as session:
            user = user_store.get_user(session, user_id)
            if wanted in (user.state, user.role):
                return
            match wanted:
                case "admin" | "writer":
                    user_store.set_role(session, user_id, wanted)
                case "active" | "suspended":
                    user_store.set_state(session, user_id, wanted)
            audit.record(session, action, actor_id=me().id, subject_id=user_id)
    except Conflict as wrong:
        flash(str(wrong), "error")
        return
    flash(NEWS[wanted])


@users.post("/<user_id>/password-link")
def make_password_link(user_id: str) -> ResponseReturnValue:
    """A link with which a writer who has lost their password chooses another. It is on this page and nowhere else."""
    with storage().database.session() as session:
        user = user_store.get_user(session, user_id)
        if user.role != "writer" or user.state != "active":
            raise Conflict("Only an active writer's password can be changed so: whoever holds the link is them.")
        token = password_links.make_link(session, user_id, actor_id=me().id, lifetime_s=password_links.BY_HAND_S)
    link = app_config().public_url + url_for("passwords.choose", token=token)
    return render_template("admin/password_link.html", user=user, link=link)


@users.post("/<user_id>/erase")
def erase(user_id: str) -> ResponseReturnValue:
    """Erase a person for good, once their address has been typed."""
    with storage().database.reading() as session:
        user = user_store.get_user(session, user_id)
    typed = request.form.get("address", "").strip()
    if mistake := erase_mistake(user, typed):
        return show(user_id, typed=typed, error=mistake)
    try:
        user_store.erase_user(storage(), user_id, me().id)
    except Conflict as wrong:
        return show(user_id, typed=typed, error=str(wrong))
    flash("Erased, and the key to everything of theirs destroyed. Backups of the data can't bring it back.")
    return redirect(url_for("admin.users.index"))


def erase_mistake(user: User, typed: str) -> str:
    """Why this person can't be erased now; empty when they can."""
    if user.id == me().id:
        return NOT_YOURSELF
    if typed.lower() != user.email:
        return "That is not this person's address. Nothing was erased."
    return ""


@users.post("/<user_id>/keys/<key_id>/revoke")
def revoke_key(user_id: str, key_id: str) -> ResponseReturnValue:
    """Stop one API key for good."""
    with storage().database.session() as session:
        api_keys.revoke_key(session, user_id, key_id, actor_id=me().id)
    flash("Revoked. Requests with that key get 401 from now on.")
    return redirect(url_for("admin.users.show", user_id=user_id, _anchor="keys"))
