"""Voices: the start page, the list, the page of one voice, its settings, its versions' reports and which of them
speaks."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.web import version_page, voice_page
from app.web.session import find_me, me, sign_in_required, storage
from app.web.words import gettext, marked, told
from storage import voices as voice_store
from storage.errors import Conflict, LimitReached

voices = Blueprint("voices", __name__)
DELETE_WORD = marked("delete")
MAX_NAME_CHARS = 80


@voices.before_request
def guard() -> ResponseReturnValue | None:
    """All but the start page is for people who are signed in."""
    return None if request.endpoint == "voices.home" else sign_in_required()


@voices.get("/")
def home() -> ResponseReturnValue:
    """A stranger's welcome. Whoever has a voice lands on writing, whoever has none yet on making it."""
    user = find_me()
    if user is None:
        return render_template("welcome.html")
    with storage().database.reading() as session:
        mine = voice_store.list_voices(session, user.id)
    if not mine:
        return redirect(url_for("voices.index"))
    ready = next((voice for voice in mine if voice.active_version is not None), None)
    if ready:
        return redirect(url_for("write.page", voice_id=ready.id))
    return redirect(url_for("voices.show", voice_id=mine[0].id))


@voices.get("/voices")
def index() -> ResponseReturnValue:
    """Every voice of the person."""
    return index_page()


@voices.post("/voices")
def create() -> ResponseReturnValue:
    """A new, empty voice."""
    name = given_name()
    try:
        if not name:
            return index_page(error=gettext("Give the voice a name first.")), 422
        with storage().database.session() as session:
            voice = voice_store.create_voice(session, me().id, name)
    except (Conflict, LimitReached) as wrong:
        return index_page(error=told(str(wrong)), typed=name), 422
    return redirect(url_for("voices.show", voice_id=voice.id))


@voices.get("/voices/<voice_id>")
def show(voice_id: str) -> ResponseReturnValue:
    """Samples, training and versions of one voice."""
    return voice_page.shown_or_unchanged(voice_id)


@voices.get("/voices/<voice_id>/versions/<int:version>")
def show_version(voice_id: str, version: int) -> ResponseReturnValue:
    """The report of one version."""
    return version_page.show(voice_id, version)


@voices.get("/voices/<voice_id>/settings")
def settings(voice_id: str) -> ResponseReturnValue:
    """Its name, and the way to delete it."""
    return settings_page(voice_id)


@voices.post("/voices/<voice_id>/rename")
def rename(voice_id: str) -> ResponseReturnValue:
    """Another name for the voice; nothing else changes."""
    name = given_name()
    if not name:
        return settings_page(voice_id, name_error=gettext("Give the voice a name.")), 422
    try:
        with storage().database.session() as session:
            voice_store.rename_voice(session, me().id, voice_id, name)
    except Conflict as wrong:
        return settings_page(voice_id, name_error=told(str(wrong)), typed=name), 422
    return redirect(url_for("voices.show", voice_id=voice_id))


@voices.post("/voices/<voice_id>/delete")
def delete(voice_id: str) -> ResponseReturnValue:
    """Delete the voice with all that is in it, once the word is typed."""
    word = request.form.get("word", "").strip().lower()
    if word not in (DELETE_WORD, gettext(DELETE_WORD).lower()):
        error = gettext("Nothing was deleted. Type the word “%(word)s” to go on.", word=gettext(DELETE_WORD))
        return settings_page(voice_id, delete_error=error, word_typed=word), 422
    with storage().database.reading() as session:
        name = voice_store.get_voice(session, me().id, voice_id).name
    voice_store.delete_voice(storage(), me().id, voice_id)
    flash(gettext("“%(voice)s” is deleted, with its samples, versions and cached copies.", voice=name))
    return redirect(url_for("voices.index"))


@voices.post("/voices/<voice_id>/versions/use")
def use_version(voice_id: str) -> ResponseReturnValue:
    """Let another version speak, or none."""
    version = request.form.get("version", type=int)
    with storage().database.session() as session:
        voice_store.use_version(session, me().id, voice_id, version)
    flash(
        gettext("Version %(version)s speaks from now on.", version=version)
        if version
        else gettext("The voice is off. Its versions are kept.")
    )
    return redirect(url_for("voices.show", voice_id=voice_id, _anchor="voice"))


def given_name() -> str:
    """The name in the form, cut to what a heading can hold."""
    return " ".join(request.form.get("name", "").split())[:MAX_NAME_CHARS]


def index_page(error: str = "", typed: str = "") -> str:
    """The list of voices."""
    with storage().database.reading() as session:
        mine = voice_store.list_voices(session, me().id)
        in_use = voice_store.versions_in_use(session, me().id)
        trained = voice_store.with_versions(session, me().id)
    return render_template("voices.html", voices=mine, in_use=in_use, trained=trained, error=error, typed=typed)


def settings_page(voice_id: str, **notices: str) -> str:
    """The settings of one voice. Raises NotFound for another's."""
    with storage().database.reading() as session:
        voice = voice_store.get_voice(session, me().id, voice_id)
        versions = voice_store.list_versions(session, me().id, voice_id)
    return render_template("voice_settings.html", voice=voice, num_versions=len(versions), word=DELETE_WORD, **notices)
