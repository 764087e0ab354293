"""Trainings that brought no version, by cause: how many, since when, what each means and what helps."""

from collections.abc import Mapping

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from app.admin.gate import needs
from app.web.session import storage
from app.web.words import marked
from storage import run_search
from storage.run_claims import GAVE_UP
from storage.run_search import NOT_PUBLISHED

failures = Blueprint("failures", __name__, url_prefix="/failures")
MEANS: Mapping[str, str] = {
    GAVE_UP: marked("Its workers died or were killed, time after time. Memory that runs out is the usual reason."),
    "internal": marked("Something unforeseen. The worker's log has the place in the code, by the run's id."),
    "misconfigured": marked(
        "A setting of the worker does not fit. Its log says which; nothing is trained until it is mended."
    ),
    "base_model_unavailable": marked("The base model could not be loaded or was refused. The worker's log says why."),
    "too_little_text": marked(
        "Samples were deleted or left out after the training was asked for. Their owner can add some."
    ),
    "diverged": marked(
        "The values left what can be stored. Asked for again it mostly works; if often, lower the step's size."
    ),
    NOT_PUBLISHED: marked(
        "No failure: the voice was no closer to its writer than the base model, so nothing was changed."
    ),
}
CAUSES = (  # as the pages have their codes
    marked("gave up"),
    marked("internal"),
    marked("misconfigured"),
    marked("base model unavailable"),
    marked("too little text"),
    marked("diverged"),
    marked("not published"),
)


@failures.get("")
@needs("auditor")
def index() -> ResponseReturnValue:
    """Every cause that has been met."""
    with storage().database.reading() as session:
        causes = run_search.causes(session)
    return render_template("admin/failures.html", causes=causes, means=MEANS, no_failure=NOT_PUBLISHED)
