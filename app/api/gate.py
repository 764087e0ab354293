"""The door of the API: every route but the public ones needs a bearer key that belongs to an active account and may do
what is asked (app.api.scopes).

The public routes are those of one blueprint, so a new route is behind the door unless it is put there on purpose.
"""

from flask import Flask, g, request

from app.api.errors import ApiError, missing
from app.api.request_log import note
from app.api.scopes import wanted
from app.api.services import services
from app.auth import Caller, authenticate

PUBLIC = "public"


def register_gate(app: Flask) -> None:
    """Ask for a key before any view runs; must stand before whatever needs the caller."""
    app.before_request(_require_caller)


def _require_caller() -> None:
    if request.url_rule is None or request.blueprint == PUBLIC:
        return
    found = authenticate(services().storage, request.headers.get("Authorization"))
    if found is None:
        raise _unauthorized()
    g.caller = found
    note(credential=found.credential)
    _require_scope(found)
    if any("\0" in value for value in (request.view_args or {}).values() if isinstance(value, str)):
        raise missing("thing")  # no id has a NUL, and PostgreSQL can't be asked for one


def _require_scope(found: Caller) -> None:
    needed = wanted(str(request.blueprint), request.method)
    if not set(needed) & set(found.scopes):
        message = (
            f"This key may not do that: it needs the scope {' or '.join(needed)} and has {', '.join(found.scopes)}. "
            "Make a key that has it on your account page."
        )
        raise ApiError(403, message, code="missing_scope")


def _unauthorized() -> ApiError:
    given = "Authorization" in request.headers
    message = (
        "Incorrect API key provided, or it was revoked, or its account is not active. Make one on your account page."
        if given
        else "You didn't provide an API key. Send it as a header: Authorization: Bearer idl-…"
    )
    return ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
