"""Users: invite one, find one, see their keys' metadata, voices and runs; suspend, let back in, say what they are here,
let choose a new password, erase."""

from typing import Any, get_args

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.admin.gate import ROLES, SAYS, needs
from app.web.limits import LABELS
from app.web.session import app_config, me, post_config, storage
from app.web.words import gettext, marked, told
from storage import api_keys, audit, deliveries, overview, password_links, quotas, tuning_runs, usage, voices
from storage import users as user_store
from storage.errors import Conflict, InvalidAccount
from storage.models import ConsoleRole, User, UserState

users = Blueprint("users", __name__, url_prefix="/users")
PAGE = 50
NEWEST_RUNS = 10
USAGE_DAYS = 30
USAGE_LINES = 60
ONLY: tuple[user_store.Only, ...] = get_args(user_store.Only)
WRITER = marked("writer")
NAMES = (marked("active"), marked("suspended"), marked("administrators"))  # of states and choices
NEWS: dict[UserState, str] = {
    "suspended": marked("Suspended. Their sessions and API keys stopped working; nothing of theirs was deleted."),
    "active": marked("Active again. They can sign in, and their API keys work."),
}
NOW_IS: dict[ConsoleRole, str] = {
    "auditor": marked("From now on this person is an auditor here, who looks at everything and changes nothing."),
    "operator": marked(
        "From now on this person is an operator here, who also cares for runs, workers and cache, revokes keys and "
        "suspends writers."
    ),
    "owner": marked(
        "From now on this person is an owner here, who also makes accounts, says who is what here, sets quotas, erases "
        "people, and can read a sample where a reason is given."
    ),
}
WRITER_AGAIN = marked("A writer now. The console is closed to them from now on; nothing of theirs was deleted.")
NOT_YOURSELF = marked("You can't do that to your own account. Ask another owner.")
AN_OWNERS_TO_DO = marked("This person has a role in the console, so an owner has to do it. Nothing was changed.")


@users.get("")
@needs("auditor")
def index(typed: str = "", error: str = "") -> ResponseReturnValue:
    """Everybody, newest first, or whoever's address or id holds what was searched for."""
    query, after = request.args.get("q", "").strip(), request.args.get("after")
    asked = request.args.get("which", "")
    only = next((choice for choice in ONLY if choice == asked), None)
    with storage().database.reading() as session:
        found = user_store.list_users(session, query=query, only=only, after=after, limit=PAGE + 1)
    page = render_template(
        "admin/users.html",
        users=found[:PAGE],
        query=query,
        only=only or "",
        choices=(("", marked("everybody")), *((choice, choice) for choice in ONLY)),
        more=found[PAGE - 1].id if len(found) > PAGE else None,
        first=after is None,
        typed=typed,
        error=error,
    )
    return page, 422 if error else 200


@users.post("/new/account")
@needs("owner")
def invite() -> ResponseReturnValue:
    """An account for somebody, and the link with which they choose its password: on this page and nowhere else."""
    typed = request.form.get("address", "")
    try:
        with storage().database.session() as session:
            user = user_store.invite(session, storage().keys, typed, me().id)
            token = password_links.make_link(session, user.id, actor_id=me().id, lifetime_s=password_links.BY_HAND_S)
    except InvalidAccount as wrong:
        return index(typed, told(str(wrong)))
    except Conflict:
        return index(typed, gettext("There is already an account with this address."))
    return password_link_page(user, token, invited=True)


@users.get("/<user_id>")
@needs("auditor")
def show(user_id: str, typed: str = "", error: str = "") -> ResponseReturnValue:
    """One person: figures and states, no text."""
    with storage().database.reading() as session:
        shown: dict[str, Any] = {
            "user": (user := user_store.get_user(session, user_id)),
            "invited": not user_store.has_way_in(session, user),
            "standings": quotas.standings(session, user_id),
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
    names = {key.id: f"{key.hint} {key.name}" for key, _ in shown["keys"]} | {usage.PAGES: gettext("the writing page")}
    page = render_template(
        "admin/user.html",
        **shown,
        key_names=names,
        labels=LABELS,
        usage_days=USAGE_DAYS,
        usage_lines=USAGE_LINES,
        roles=(WRITER, *ROLES),
        says={WRITER: marked("finds no console"), **SAYS},
        typed=typed,
        error=error,
    )
    return page, 422 if error else 200


@users.post("/<user_id>/suspend")
@needs("operator")
def suspend(user_id: str) -> ResponseReturnValue:
    """Shut a person out at once; nothing of theirs is lost."""
    set_state(user_id, "suspended", "user.suspended")
    return redirect(url_for("admin.users.show", user_id=user_id))


@users.post("/<user_id>/unsuspend")
@needs("operator")
def unsuspend(user_id: str) -> ResponseReturnValue:
    """Let a person back in."""
    set_state(user_id, "active", "user.unsuspended")
    return redirect(url_for("admin.users.show", user_id=user_id))


def set_state(user_id: str, wanted: UserState, action: str) -> None:
    """Set it and say so in the audit trail, in one transaction; nothing when it is so already. Raises NotFound."""
    try:
        with storage().database.session() as session:
            user = user_store.get_user(session, user_id)
            if mistake := state_mistake(user):
                flash(mistake, "error")
                return
            if user.state == wanted:
                return
            user_store.set_state(session, user_id, wanted)
            audit.record(session, action, actor_id=me().id, subject_id=user_id)
    except Conflict as wrong:
        flash(told(str(wrong)), "error")
        return
    flash(gettext(NEWS[wanted]))


@users.post("/<user_id>/password-link")
@needs("owner")
def make_password_link(user_id: str) -> ResponseReturnValue:
    """A link with which a writer who has lost their password chooses another. It is on this page and nowhere else; that
    it was made is told to the writer."""
    with storage().database.session() as session:
        user = user_store.get_user(session, user_id)
        if user.role != "writer" or user.state != "active" or user.guest_until is not None:
            raise Conflict(
                gettext("Only an active writer's password can be changed so: whoever holds the link is them.")
            )
        invited = not user_store.has_way_in(session, user)
        token = password_links.make_link(session, user_id, actor_id=me().id, lifetime_s=password_links.BY_HAND_S)
        if post_config().sends_mail and not invited:
            deliveries.add(session, user_id, "password_link_made", "mail")
    return password_link_page(user, token, invited=invited)


def password_link_page(user: User, token: str, *, invited: bool) -> str:
    """The link, this once."""
    link = app_config().public_url + url_for("passwords.choose", token=token)
    return render_template("admin/password_link.html", user=user, link=link, invited=invited)


def state_mistake(user: User) -> str:
    """Why this administrator can't suspend this person or let them back in; empty when they can."""
    if user.id == me().id:
        return gettext(NOT_YOURSELF)
    return gettext(AN_OWNERS_TO_DO) if user.console is not None and me().console != "owner" else ""


@users.post("/<user_id>/role")
@needs("owner")
def set_role(user_id: str) -> ResponseReturnValue:
    """Say what a person is in the console, a writer being nothing there; recorded when it changes something."""
    asked = request.form.get("role", "")
    wanted = next((role for role in ROLES if role == asked), None)
    if wanted is None and asked != WRITER:
        abort(400)
    if user_id == me().id:
        flash(gettext(NOT_YOURSELF), "error")
    else:
        change_role(user_id, wanted)
    return redirect(url_for("admin.users.show", user_id=user_id, _anchor="role"))


def change_role(user_id: str, wanted: ConsoleRole | None) -> None:
    """In one transaction with its line in the audit trail. Raises NotFound."""
    try:
        with storage().database.session() as session:
            before = user_store.get_user(session, user_id).console
            if before == wanted:
                return
            user_store.set_console_role(session, user_id, wanted)
            detail = {"role": wanted or WRITER, "was": before or WRITER}
            audit.record(session, "user.role_changed", actor_id=me().id, subject_id=user_id, **detail)
    except Conflict as wrong:
        flash(told(str(wrong)), "error")
        return
    flash(gettext(NOW_IS[wanted] if wanted else WRITER_AGAIN))


@users.post("/<user_id>/erase")
@needs("owner")
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
        return show(user_id, typed=typed, error=told(str(wrong)))
    flash(gettext("Erased, and the key to everything of theirs destroyed. Backups of the data can't bring it back."))
    return redirect(url_for("admin.users.index"))


def erase_mistake(user: User, typed: str) -> str:
    """Why this person can't be erased now; empty when they can."""
    if user.id == me().id:
        return gettext(NOT_YOURSELF)
    if typed.lower() != user.email:
        return gettext("That is not this person's address. Nothing was erased.")
    return ""


@users.post("/<user_id>/keys/<key_id>/revoke")
@needs("operator")
def revoke_key(user_id: str, key_id: str) -> ResponseReturnValue:
    """Stop one API key for good."""
    with storage().database.session() as session:
        api_keys.revoke_key(session, user_id, key_id, actor_id=me().id)
    flash(gettext("Revoked. Requests with that key get 401 from now on."))
    return redirect(url_for("admin.users.show", user_id=user_id, _anchor="keys"))
