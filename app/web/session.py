"""Who is asking: the signed-in person of this request, and the ways in and out of a session.

The browser holds a random token in an HttpOnly cookie; storage.web_sessions holds its hash. Suspending a person ends
their session at the next request, because only active people are found. Views and the console's blueprint use
`storage()`, `me()`, `sign_in_required` and `admin_required`; nothing here knows a page. Whoever comes in finds their
voices' prefixes ready (`warm_up`).
"""

from typing import cast

from flask import abort, current_app, flash, g, redirect, request, url_for
from flask import session as form_session
from werkzeug.wrappers import Response as AnyResponse

from app.config import AppConfig
from app.web.browser_names import browser_name
from app.web.typed_text import typed_text
from app.web.words import gettext
from storage import prefixes, web_sessions
from storage.models import User
from storage.store import Storage
from tuning.config import PostConfig

COOKIE = "idiolect_session"
COOKIE_SECONDS = web_sessions.LONGEST_S  # the session itself ends sooner where nobody uses it


def storage() -> Storage:
    """The Storage this app was made with."""
    return cast(Storage, current_app.extensions["storage"])


def app_config() -> AppConfig:
    """The AppConfig this app was made with."""
    return cast(AppConfig, current_app.extensions["app_config"])


def post_config() -> PostConfig:
    """What the workers can bring to people outside these pages."""
    return cast(PostConfig, current_app.extensions["post_config"])


def token() -> str:
    """The session token the browser sent, or an empty string."""
    return request.cookies.get(COOKIE, "")


def find_me() -> User | None:
    """The signed-in, active person of this request; looked up once a request."""
    if "user" not in g:
        g.user = None
        if token():
            g.user = web_sessions.recognise(storage().database, web_sessions.hashed(token()))
    return cast("User | None", g.user)


def me() -> User:
    """The signed-in person, in views behind `sign_in_required`."""
    user = find_me()
    if user is None:
        abort(401)
    return user


def sign_in_required() -> AnyResponse | None:
    """For `before_request`: sends whoever is not signed in to the sign-in page, and back afterwards. Who had written
    something gets it back on a page of its own: it would be lost on the way."""
    if find_me() is not None:
        return None
    if typed_text():
        abort(401)
    if request.method != "GET":
        flash(gettext("You were signed out. Sign in, and do that once more."), "error")
        return redirect(url_for("accounts.sign_in"))
    if request.headers.get("HX-Request"):  # a part of a page that asks by itself: what is shown there stays
        return current_app.response_class(status=401)
    return redirect(url_for("accounts.sign_in", next=request.full_path.rstrip("?")))


def account_required() -> AnyResponse | None:
    """For `before_request` of what goes with an account of one's own: a guest is shown how to have one."""
    answer = sign_in_required()
    if answer is None and me().guest_until is not None:
        flash(gettext("That goes with an account of your own. Keep this one first."))
        return redirect(url_for("guests.keep"))
    return answer


def admin_required() -> AnyResponse | None:
    """For `before_request` of the console: a writer sees a 404, as if it were not there."""
    answer = sign_in_required()
    if answer is None and me().role != "admin":
        abort(404)
    return answer


def begin(response: AnyResponse, user_id: str) -> AnyResponse:
    """Start a session for this person and give the browser its token. The session it had and its form tokens end."""
    with storage().database.session() as session:
        web_sessions.end(session, token())
        value = web_sessions.start(session, user_id, browser_name(request.user_agent.string))
    form_session.clear()
    secure = app_config().public_url.startswith("https://")
    response.set_cookie(COOKIE, value, max_age=COOKIE_SECONDS, httponly=True, samesite="Lax", secure=secure)
    return warm_up(response, user_id)


def warm_up(response: AnyResponse, user_id: str) -> AnyResponse:
    """Once this answer is out, bring the prefixes of the person's voices into the cache: they will write next."""
    bundle = storage()
    response.call_on_close(lambda: prefixes.warm_cache(bundle, user_id))
    return response


def finish(response: AnyResponse) -> AnyResponse:
    """End this browser's session and take the cookies back."""
    with storage().database.session() as session:
        web_sessions.end(session, token())
    return forget(response)


def forget(response: AnyResponse) -> AnyResponse:
    """Take the browser's cookies back (its session is already gone)."""
    form_session.clear()
    response.delete_cookie(COOKIE)
    return response


def local_path(wanted: str) -> str | None:
    """`wanted` if it is a path on this site, else None: a link must not carry people elsewhere after sign-in."""
    if wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable():
        return wanted
    return None
