"""One writing sample: read, edit, put back what was taken out of it, split, say what it answers, include, delete.

How writing comes in is intake.py's.
"""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.intake.splitting import is_long, marked, suggested_parts, unmarked
from app.web import remark_lines
from app.web.session import me, sign_in_required, storage
from app.web.words import gettext, ngettext, told
from storage import sample_changes
from storage import samples as sample_store
from storage import voices as voice_store
from storage.errors import InvalidSample, LimitReached

samples = Blueprint("samples", __name__, url_prefix="/voices/<voice_id>/samples")
samples.before_request(sign_in_required)


@samples.get("/<sample_id>")
def show(voice_id: str, sample_id: str) -> ResponseReturnValue:
    """The whole text of one sample, as it was taken in."""
    return page_of(voice_id, sample_id)


@samples.get("/<sample_id>/edit")
def edit(voice_id: str, sample_id: str) -> ResponseReturnValue:
    """The text, title and date in a form."""
    return page_of(voice_id, sample_id, "sample_edit.html")


@samples.post("/<sample_id>/edit")
def change(voice_id: str, sample_id: str) -> ResponseReturnValue:
    """Other words, title or date."""
    typed = {name: request.form.get(name, "") for name in ("text", "title", "written_on")}
    ours = (storage().keys, me().id, voice_id)
    try:
        with storage().database.session() as session:
            sample_changes.describe(session, *ours, sample_id, title=typed["title"], written_on=typed["written_on"])
            sample_id = sample_changes.change_text(session, *ours, sample_id, typed["text"])
    except (InvalidSample, LimitReached) as wrong:
        return page_of(voice_id, sample_id, "sample_edit.html", typed=typed, error=told(str(wrong))), 422
    flash(gettext("Kept. The next training goes by it."))
    return to_sample(voice_id, sample_id)


@samples.post("/<sample_id>/parts")
def set_part(voice_id: str, sample_id: str) -> ResponseReturnValue:
    """Put back what was taken out of it, or take it out again."""
    number, out = request.form.get("part", -1, type=int), request.form.get("out") == "1"
    try:
        with storage().database.session() as session:
            ours = (session, storage().keys, me().id, voice_id)
            sample_id = sample_changes.set_part(*ours, sample_id, number, out=out)
    except (InvalidSample, LimitReached) as wrong:
        flash(told(str(wrong)), "error")
    return to_sample(voice_id, sample_id)


@samples.get("/<sample_id>/split")
def parts(voice_id: str, sample_id: str) -> ResponseReturnValue:
    """Where it could be cut, for its owner to change."""
    return page_of(voice_id, sample_id, "sample_split.html")


@samples.post("/<sample_id>/split")
def split(voice_id: str, sample_id: str) -> ResponseReturnValue:
    """Several samples in its place."""
    typed = request.form.get("text", "")
    try:
        with storage().database.session() as session:
            ours = (session, storage().keys, me().id, voice_id)
            made = sample_changes.split_sample(*ours, sample_id, unmarked(typed))
    except (InvalidSample, LimitReached) as wrong:
        return page_of(voice_id, sample_id, "sample_split.html", typed=typed, error=told(str(wrong))), 422
    flash(ngettext("Split into %(num)s piece.", "Split into %(num)s pieces.", len(made)))
    return redirect(url_for("intake.review", voice_id=voice_id))


@samples.post("/<sample_id>/prompt")
def change_prompt(voice_id: str, sample_id: str) -> ResponseReturnValue:
    """Say what the sample answers, in place of what was said or made; left empty, that it answers nothing."""
    prompt = request.form.get("prompt", "")
    try:
        with storage().database.session() as session:
            sample_store.set_prompt(session, storage().keys, me().id, voice_id, sample_id, prompt)
    except InvalidSample as wrong:
        return page_of(voice_id, sample_id, typed=prompt, prompt_error=told(str(wrong))), 422
    flash(
        gettext("Kept. The next training goes by it.")
        if prompt.strip()
        else gettext("The request is cleared, and none is made for it.")
    )
    return to_sample(voice_id, sample_id)


@samples.post("/<sample_id>/include")
def include(voice_id: str, sample_id: str) -> ResponseReturnValue:
    """Take the sample into the next training, or leave it out."""
    included = request.form.get("included") == "1"
    with storage().database.session() as session:
        sample_store.set_included(session, me().id, voice_id, sample_id, included)
    page = request.form.get("page", 1, type=int)
    return redirect(url_for("voices.show", voice_id=voice_id, page=page if page > 1 else None, _anchor="samples"))


@samples.post("/<sample_id>/delete")
def delete(voice_id: str, sample_id: str) -> ResponseReturnValue:
    """Delete one sample for good."""
    with storage().database.session() as session:
        sample_store.delete_sample(session, me().id, voice_id, sample_id)
    flash(gettext("The sample is deleted. Versions trained with it stay until you train again or delete the voice."))
    return redirect(url_for("voices.show", voice_id=voice_id, _anchor="samples"))


def to_sample(voice_id: str, sample_id: str) -> ResponseReturnValue:
    """To its page."""
    return redirect(url_for("samples.show", voice_id=voice_id, sample_id=sample_id))


def page_of(voice_id: str, sample_id: str, template: str = "sample.html", **notices: object) -> str:
    """A page of one sample, with what was typed and what is wrong with it. Raises NotFound for another's."""
    with storage().database.reading() as session:
        voice = voice_store.get_voice(session, me().id, voice_id)
        sample = sample_store.get_sample(session, storage().keys, me().id, voice_id, sample_id)
        lines = remark_lines.of(session, storage().keys, voice, [sample])[sample.id]
    if template == "sample_split.html":
        notices.setdefault("typed", marked(suggested_parts(sample.text)))
    return render_template(
        template,
        voice=voice,
        sample=sample,
        lines=lines,
        kinds=remark_lines.KINDS,
        long=is_long(sample.text),
        **notices,
    )
