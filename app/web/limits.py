"""What an account may have and use, and how much of it is used: for its owner, and in the console."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from app.web.session import me, sign_in_required, storage
from app.web.words import marked
from storage import quotas
from storage.quotas import Kind
from storage.text_intake import MAX_SAMPLES, MAX_VOICE_CHARS

limits = Blueprint("limits", __name__)
limits.before_request(sign_in_required)
LABELS: dict[Kind, str] = {
    "voices": marked("Voices"),
    "samples": marked("Samples, in all voices"),
    "stored_mb": marked("Samples and files, in MB"),
    "runs": marked("Trainings waiting, paused or under way"),
    "tokens_per_day": marked("Tokens read and written today (UTC)"),
}


@limits.get("/account/limits")
def show() -> ResponseReturnValue:
    """The person's own."""
    with storage().database.reading() as session:
        found = quotas.standings(session, me().id)
    return render_template("limits.html", standings=found, labels=LABELS, of_voice=(MAX_SAMPLES, MAX_VOICE_CHARS))
