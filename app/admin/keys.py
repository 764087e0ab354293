"""API keys of everybody: by what is shown of them, whose they are, what they may do, when they were used last."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from app.admin.gate import needs
from app.web.session import storage
from app.web.words import marked
from storage import api_keys

keys = Blueprint("keys", __name__, url_prefix="/keys")
PAGE = 50
CHOICES = (("", marked("in use")), ("idle", marked("unused for 90 days")), ("revoked", marked("revoked")))


@keys.get("")
@needs("auditor")
def index() -> ResponseReturnValue:
    """One page, newest first, by a piece of the hint or of the owner's address, as the address says."""
    query, after = request.args.get("q", "").strip(), request.args.get("after")
    asked = request.args.get("which", "")
    only: api_keys.Only = next((choice for choice in api_keys.ONLY if choice == asked), "used")
    with storage().database.reading() as session:
        found = api_keys.list_all_keys(session, query=query, only=only, after=after, limit=PAGE + 1)
    return render_template(
        "admin/keys.html",
        keys=[(key, owner, api_keys.scopes_of(key)) for key, owner in found[:PAGE]],
        query=query,
        only="" if only == "used" else only,
        choices=CHOICES,
        more=found[PAGE - 1][0].id if len(found) > PAGE else None,
        first=not after,
    )
