"""The base models that were registered, what the probe found when it accepted each, and training voices again after a
change of model."""

from collections.abc import Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.admin.gate import needs
from app.admin.ordering import Key, Order
from app.web.session import me, storage
from app.web.words import gettext, marked, ngettext
from storage import base_models as base_model_store
from storage import retraining
from storage.models import RegisteredBaseModel
from tuning.celery_app import enqueue_tuning

base_models = Blueprint("base_models", __name__, url_prefix="/base-models")
PROBE = (  # what a probe notes, as the page has it
    marked("layer shapes"),
    marked("virtual tokens"),
    marked("context length"),
    marked("disagreement"),
    marked("near effect"),
    marked("far effect"),
    marked("languages"),
)
COLUMNS: Mapping[str, Key[RegisteredBaseModel]] = {
    "name": lambda model: model.name,
    "parameters": lambda model: model.num_parameters,
    "context": lambda model: model.context_length,
    "registered": lambda model: model.registered_at,
    "seen": lambda model: model.last_seen_at,
}


@base_models.get("")
@needs("auditor")
def index() -> ResponseReturnValue:
    """All of them, the one in use marked."""
    order = Order.read(request.args.get("sort", ""), COLUMNS, default="-seen")
    with storage().database.reading() as session:
        current = base_model_store.current(session)
        models = order.apply(base_model_store.list_all(session), COLUMNS)
        outdated = len(retraining.outdated_voices(session))
    fingerprint = current.fingerprint if current else None
    return render_template("admin/base_models.html", models=models, current=fingerprint, order=order, outdated=outdated)


@base_models.post("/retraining")
@needs("operator")
def retrain() -> ResponseReturnValue:
    """Ask for a training of every voice that is of another model. Kept when the queue can't be reached."""
    asked = retraining.request_retraining(storage(), me().id)
    sent = [enqueue_tuning(run_id) for run_id in asked.run_ids]
    flash(_told(asked, all(sent)))
    return redirect(url_for("admin.base_models.index"))


def _told(asked: retraining.Retraining, sent: bool) -> str:
    said = [ngettext("%(num)s training was asked for.", "%(num)s trainings were asked for.", len(asked.run_ids))]
    if asked.left:
        said.append(
            ngettext(
                "%(num)s had too little writing left to train on; their owners can add some.",
                "%(num)s had too little writing left to train on; their owners can add some.",
                asked.left,
            )
        )
    if not sent:
        said.append(gettext("The queue is not answering; they start when it does."))
    return " ".join(said)
