"""The prefix cache: does it answer, how full is it, how often does it save a read of the database. What each API
process holds in its own memory is not known here."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from app.admin.gate import needs
from app.web.session import storage

cache = Blueprint("cache", __name__, url_prefix="/cache")


@cache.get("")
@needs("auditor")
def show() -> ResponseReturnValue:
    """Its figures. Keys and values are never listed."""
    bundle = storage()
    return render_template("admin/cache.html", cache=bundle.cache.figures(), ttl_s=bundle.config.cache_ttl_s)
