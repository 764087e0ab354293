"""The console's first page: is everything well, and if not, what needs a hand now."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from app.admin import health
from app.admin.gate import needs
from app.web.session import storage

overview = Blueprint("overview", __name__)


@overview.get("/")
@needs("auditor")
def show() -> ResponseReturnValue:
    """Health at a glance."""
    return render_template("admin/overview.html", health=health.look(storage()))
