"""Writing samples: paste, upload, read, say what they answer, include or leave out, delete. Each bad one gets its own
sentence."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import FileStorage

from app.web import voice_page
from app.web.formats import plural
from app.web.session import me, sign_in_required, storage
from storage import samples as sample_store
from storage import voices as voice_store
from storage.errors import InvalidSample, LimitReached

samples = Blueprint("samples", __name__, url_prefix="/voices/<voice_id>/samples")
samples.before_request(sign_in_required)
FIELDS = ("text", "title", "prompt", "written_on")


@dataclass
class Harvest:
    """What became of one form: how much was kept, and what was refused and why."""

    kept: int = 0
    words: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)  # file name, sentence
    paste_error: str = ""

    @property
    def sentence(self) -> str:
        """What was kept, in words."""
        return f"Kept {plural(self.kept, 'sample')}, {plural(self.words, 'word')}." if self.kept else ""


@samples.post("")
def add(voice_id: str) -> ResponseReturnValue:
    """Keep the pasted text and every good file; say of each other one what to do."""
    with storage().database.reading() as session:
        voice_store.get_voice(session, me().id, voice_id)
    typed = {name: request.form.get(name, "") for name in FIELDS}
    files = [file for file in request.files.getlist("files") if file.filename]
    harvest = Harvest()
    keep_files(voice_id, files, harvest)
    if typed["text"].strip() or not files:
        keep_paste(voice_id, typed, harvest)
    if not harvest.refused and not harvest.paste_error:
        flash(harvest.sentence)
        return redirect(url_for("voices.show", voice_id=voice_id, _anchor="samples"))
    return voice_page.show(voice_id, typed=typed if harvest.paste_error else None, harvest=harvest), 422


@samples.get("/<sample_id>")
def show(voice_id: str, sample_id: str) -> ResponseReturnValue:
    """The whole text of one sample, as it was taken in."""
    return page_of(voice_id, sample_id)


@samples.post("/<sample_id>/prompt")
def change_prompt(voice_id: str, sample_id: str) -> ResponseReturnValue:
    """Say what the sample answers, in place of what was said or made; left empty, that it answers nothing."""
    prompt = request.form.get("prompt", "")
    try:
        with storage().database.session() as session:
            sample_store.set_prompt(session, storage().keys, me().id, voice_id, sample_id, prompt)
    except InvalidSample as wrong:
        return page_of(voice_id, sample_id, typed=prompt, prompt_error=str(wrong)), 422
    flash(
        "Kept. The next training goes by it." if prompt.strip() else "The request is cleared, and none is made for it."
    )
    return redirect(url_for("samples.show", voice_id=voice_id, sample_id=sample_id))


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
    flash("The sample is deleted. Versions trained with it stay until you train again or delete the voice.")
    return redirect(url_for("voices.show", voice_id=voice_id, _anchor="samples"))


def page_of(voice_id: str, sample_id: str, **notices: str) -> str:
    """The page of one sample, with what was typed and what is wrong with it. Raises NotFound for another's."""
    with storage().database.reading() as session:
        voice = voice_store.get_voice(session, me().id, voice_id)
        sample = sample_store.get_sample(session, storage().keys, me().id, voice_id, sample_id)
    return render_template("sample.html", voice=voice, sample=sample, **notices)


def keep_files(voice_id: str, files: Iterable[FileStorage], harvest: Harvest) -> None:
    """Keep each readable file under its own name."""
    for file in files:
        name = PurePath((file.filename or "").replace("\\", "/")).name
        try:
            text = sample_store.decode_upload(file.stream.read(), name)
            keep(voice_id, {"text": text, "title": PurePath(name).stem}, harvest)
        except (InvalidSample, LimitReached) as wrong:
            harvest.refused.append((name, str(wrong)))


def keep_paste(voice_id: str, typed: Mapping[str, str], harvest: Harvest) -> None:
    """Keep what was pasted or typed."""
    try:
        keep(voice_id, typed, harvest)
    except (InvalidSample, LimitReached) as wrong:
        harvest.paste_error = str(wrong)


def keep(voice_id: str, given: Mapping[str, str], harvest: Harvest) -> None:
    """Keep one text, in a transaction of its own."""
    with storage().database.session() as session:
        sample = sample_store.add_sample(
            session,
            storage().keys,
            user_id=me().id,
            voice_id=voice_id,
            text=given["text"],
            title=given.get("title", "").strip() or None,
            prompt=given.get("prompt", "").strip() or None,
            written_on=given.get("written_on", "").strip() or None,
        )
    harvest.kept += 1
    harvest.words += sample.num_words
