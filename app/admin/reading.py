"""Breaking the glass: an owner reads one sample of a person, with a reason that the person sees."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from app.admin.gate import needs
from app.web.session import me, storage
from app.web.words import told
from storage import break_glass, users
from storage.errors import Conflict
from storage.sample_rows import Sample

reading = Blueprint("reading", __name__, url_prefix="/users/<user_id>/reading")


@reading.get("")
@needs("owner")
def choose(user_id: str) -> ResponseReturnValue:
    """What there is, by size and date, and the form that takes the reason."""
    return page(user_id)


@reading.post("/open")
@needs("owner")
def read(user_id: str) -> ResponseReturnValue:
    """One sample's text, once the reading is in the trail."""
    try:
        sample = break_glass.read_sample(
            storage(),
            actor_id=me().id,
            user_id=user_id,
            sample_id=request.form.get("sample", ""),
            reason=request.form.get("reason", ""),
        )
    except Conflict as wrong:
        return page(user_id, error=told(str(wrong))), 422
    return page(user_id, sample)


def page(user_id: str, sample: Sample | None = None, error: str = "") -> str:
    """The page, with the sample that was opened, or what was typed and what was wrong with it."""
    with storage().database.reading() as session:
        user = users.get_user(session, user_id)
        readable = break_glass.list_readable(session, user_id)
        readings = break_glass.list_readings(session, user_id)
    return render_template(
        "admin/reading.html",
        user=user,
        readable=readable,
        most=break_glass.MOST_LISTED,
        readings=readings,
        sample=sample,
        typed=request.form,
        most_reason=break_glass.MAX_REASON_CHARS,
        error=error,
    )
