"""The base models that were registered, and what the probe found when it accepted each."""

from collections.abc import Mapping

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from app.admin.ordering import Key, Order
from app.web.session import storage
from storage import base_models as base_model_store
from storage.models import RegisteredBaseModel

base_models = Blueprint("base_models", __name__, url_prefix="/base-models")
COLUMNS: Mapping[str, Key[RegisteredBaseModel]] = {
    "name": lambda model: model.name,
    "parameters": lambda model: model.num_parameters,
    "context": lambda model: model.context_length,
    "registered": lambda model: model.registered_at,
    "seen": lambda model: model.last_seen_at,
}


@base_models.get("")
def index() -> ResponseReturnValue:
    """All of them, the one in use marked."""
    order = Order.read(request.args.get("sort", ""), COLUMNS, default="-seen")
    with storage().database.reading() as session:
        current = base_model_store.current(session)
        models = order.apply(base_model_store.list_all(session), COLUMNS)
    fingerprint = current.fingerprint if current else None
    return render_template("admin/base_models.html", models=models, current=fingerprint, order=order)
