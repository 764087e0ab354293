"""The administrators' console at /admin: one blueprint a page group, all behind the same door (app.admin.gate).

Whoever is signed in and no administrator is answered 404, as if nothing were here. The console shows ids, states,
sizes and figures, and no one's text but on the one page that takes a reason (app.admin.reading). It knows storage and
the session of the web role, and never loads torch.
"""

import hashlib
from pathlib import Path

from flask import Blueprint, Response, request, url_for

from app.admin import (
    audit,
    base_models,
    cache,
    failures,
    gate,
    keys,
    overview,
    quotas,
    reading,
    runs,
    space,
    usage,
    users,
    workers,
)

STYLE_SHEET = Path(__file__).parent / "static" / "admin.css"
STYLE_VERSION = hashlib.sha256(STYLE_SHEET.read_bytes()).hexdigest()[:10]

admin = Blueprint("admin", __name__, url_prefix="/admin", template_folder="templates", static_folder="static")
for pages in (
    overview.overview,
    users.users,
    quotas.quotas,
    reading.reading,
    keys.keys,
    runs.runs,
    failures.failures,
    workers.workers,
    cache.cache,
    base_models.base_models,
    space.space,
    usage.usage,
    audit.audit,
):
    admin.register_blueprint(pages)


admin.before_request(gate.door)
admin.add_app_template_global(gate.can)


@admin.after_request
def keep_style_sheet(response: Response) -> Response:
    """Pages of the console are never kept; its style sheet is, under the hash in its address."""
    if request.endpoint == "admin.static":
        response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    return response


@admin.context_processor
def style_sheet() -> dict[str, str]:
    """`console_style`: the style sheet's address."""
    return {"console_style": url_for("admin.static", filename=STYLE_SHEET.name, v=STYLE_VERSION)}
