"""The writing page: a text, and drafts of how it could go on, from the base model and in the person's own voice. Each
column is streamed by the gateway; without JavaScript both come whole. Nothing that is written here is stored, unless
its writer keeps it as a sample."""

import json
from dataclasses import replace

from flask import Blueprint, Response, jsonify, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import generate_csrf

from app import auth
from app.web import columns, drafts, gateway, votes, word_changes
from app.web.columns import Column, NoBaseModel, Writer
from app.web.drafts import Maker
from app.web.formats import number
from app.web.session import find_me, me, sign_in_required, storage, token, warm_up
from app.web.wishes import (
    BOUNDS,
    DEFAULT_LENGTH,
    DEFAULT_STRENGTH,
    DEFAULT_TEMPERATURE,
    LENGTHS,
    MAX_DRAFTS,
    MAX_STRENGTH,
    MAX_TEXT_CHARS,
    Reach,
    Wish,
)
from app.web.words import gettext, marked, ngettext, told
from storage import base_models, samples, trials, voices
from storage.errors import InvalidSample, LimitReached
from storage.trials import SIDES

write = Blueprint("write", __name__)
MAX_COMPARED_CHARS = 8_000
LEAST_OWN_SHARE = 0.5  # of a text's words, for it to be called its writer's own
NOT_STARTED = marked("The base model has not started yet. Try again in a minute.")


@write.before_request
def guard() -> ResponseReturnValue | None:
    """Signed-in people only; the script is told so in a way that it can show without losing the text."""
    if find_me() is None and gateway.asked_by_program():
        return gateway.refusal(
            401, gettext("You were signed out. Sign in again in another tab; your text is still here.")
        )
    return sign_in_required()


@write.get("/voices/<voice_id>/write")
def page(voice_id: str) -> ResponseReturnValue:
    """The text and the two columns."""
    return warm_up(make_response(page_of(voice_id)), me().id)


@write.post("/voices/<voice_id>/write")
def compose(voice_id: str) -> ResponseReturnValue:
    """Without JavaScript: the drafts of both columns, whole, on the page that asked; or one of them put into the
    text. With or without: the same text on the page of another voice."""
    if request.form.get("task") == "voice":
        return page_of_another(request.form.get("other_voice") or voice_id, voice_id)
    text, took = typed("text"), typed("take")
    if took:
        return page_of(voice_id, text=text + took, accepted=[*request.form.getlist("accepted"), took])
    try:
        with storage().database.reading() as session:
            voice = voices.get_voice(session, me().id, voice_id)
            reach = columns.reach_of(session, me().id, voice_id)
            against = columns.against_of(session, voice, request.form.get("against", ""))
            shown: tuple[Column, ...] = ("other", "mine") if voice.active_version is not None else ("other",)
            writers = {column: columns.writer(voice, reach, column, against) for column in shown}
        wish = Wish.from_form({**request.form, "before": text}, reach)
        made = {column: whole_drafts(wish, reach, writer) for column, writer in writers.items()}
    except NoBaseModel:
        return page_of(voice_id, error=gettext(NOT_STARTED)), 503
    except ValueError as wrong:
        return page_of(voice_id, error=told(str(wrong))), 422
    return page_of(voice_id, made=made)


@write.post("/voices/<voice_id>/write/keep")
def keep(voice_id: str) -> ResponseReturnValue:
    """Keep the text as a sample of its writer's, if enough of it is theirs."""
    text = typed("text")
    shares = word_changes.shares(text, request.form.getlist("accepted"))
    if shares.own < LEAST_OWN_SHARE * shares.words:
        said = ngettext(
            "Not kept: of %(num)s word, %(drafted)s stand as the model wrote them. A sample should be your writing: "
            "reword a good part, at least half, then keep it.",
            "Not kept: of %(num)s words, %(drafted)s stand as the model wrote them. A sample should be your writing: "
            "reword a good part, at least half, then keep it.",
            shares.words,
            drafted=number(shares.drafted),
        )
        return page_of(voice_id, keep_error=said), 422
    try:
        with storage().database.session() as session:
            samples.add_sample(
                session,
                storage().keys,
                user_id=me().id,
                voice_id=voice_id,
                text=text,
                title=request.form.get("title", "").strip() or None,
            )
    except (InvalidSample, LimitReached) as wrong:
        return page_of(voice_id, keep_error=told(str(wrong))), 422
    said = ngettext(
        "Kept as a sample of %(num)s word, %(own)s of them yours. The next training learns from it.",
        "Kept as a sample of %(num)s words, %(own)s of them yours. The next training learns from it.",
        shares.words,
        own=number(shares.own),
    )
    return page_of(voice_id, kept=said)


@write.get("/write/token")
def renew_token() -> ResponseReturnValue:
    """Another form token, for a page that was open while its reader signed out and in again. Where somebody else has
    signed in since, the page stays unable to do anything."""
    if request.args.get("reader") != me().id:
        return gateway.refusal(
            403,
            gettext(
                "Somebody else has signed in here since you opened this page. Sign in as yourself in another tab; "
                "your text is still here."
            ),
        )
    return jsonify(token=generate_csrf())


@write.post("/write/stream")
def stream() -> ResponseReturnValue:
    """One column, as it is written."""
    column = next((known for known in columns.COLUMNS if known == request.form.get("column")), None)
    if column is None:
        return gateway.refusal(400, gettext("Ask for the column mine, other, first or second."))
    try:
        reach, writer = asked_of(column)
        wish = Wish.from_form(request.form, reach)
    except NoBaseModel:
        return gateway.refusal(503, gettext(NOT_STARTED))
    except ValueError as wrong:
        return gateway.refusal(400, told(str(wrong)))
    return drafts.retold(ask(wish, reach, writer, stream=True), blind=writer.blind)


@write.post("/write/trials")
def begin_trial() -> ResponseReturnValue:
    """Draw lots for a blind trial. The answer names it, and not its order."""
    voice_id = request.form.get("voice_id", "")
    strength = request.form.get("strength", DEFAULT_STRENGTH, type=float)
    if not 0 <= strength <= MAX_STRENGTH:
        return gateway.refusal(400, gettext(BOUNDS["strength"], least=0, most=f"{MAX_STRENGTH:g}"))
    with storage().database.session() as session:
        voice = voices.get_voice(session, me().id, voice_id)
        against = columns.against_of(session, voice, request.form.get("against", ""))
        trial = trials.begin_trial(session, me().id, voice_id, against=against, strength=strength)
    return jsonify(trial=trial.id)


@write.post("/write/trials/<trial_id>/choice")
def choose(trial_id: str) -> ResponseReturnValue:
    """Note which side was chosen, and only then say who wrote which."""
    side = next((known for known in SIDES if known == request.form.get("side")), None)
    if side is None and request.form.get("side") != "neither":
        return gateway.refusal(400, gettext("Choose the first, the second, or neither."))
    with storage().database.session() as session:
        trial = trials.choose(session, me().id, trial_id, side)
        counted = trials.tallies(session, me().id, trial.voice_id, trial.version)
    wrote = {side: columns.version_of(trial, side) for side in SIDES}
    return jsonify(
        titles={side: columns.title_of(version) for side, version in wrote.items()},
        writers={
            side: "mine" if version == trial.version else "base" if version is None else "other"
            for side, version in wrote.items()
        },
        said=votes.revealed(trial, counted),
    )


@write.post("/write/changes")
def show_changes() -> ResponseReturnValue:
    """What a draft would change in a passage, word by word."""
    old, new = typed("old"), typed("new")
    if max(len(old), len(new)) > MAX_COMPARED_CHARS:
        return gateway.refusal(
            400, gettext("Passages of up to %(most)s characters can be compared.", most=number(MAX_COMPARED_CHARS))
        )
    return render_template("_changes.html", changes=word_changes.changes(old, new))


def asked_of(column: Column) -> tuple[Reach, Writer]:
    """What can be asked, and of whom, for a column of the form that was sent. Raises NotFound, NoBaseModel."""
    form = request.form
    with storage().database.reading() as session:
        if column in ("first", "second"):
            trial = trials.get_trial(session, me().id, form.get("trial", ""))
            reach = columns.reach_of(session, me().id, trial.voice_id)
            return reach, columns.writer_of_trial(trial, reach, column)
        voice = voices.get_voice(session, me().id, form.get("voice_id", ""))
        reach = columns.reach_of(session, me().id, voice.id)
        against = columns.against_of(session, voice, form.get("against", ""))
        return reach, columns.writer(voice, reach, column, against)


def ask(wish: Wish, reach: Reach, writer: Writer, *, stream: bool) -> Response:
    """Ask the API, under a short-lived token of this session."""
    if writer.strength is not None:
        wish = replace(wish, strength=writer.strength)
    url, body = wish.request(reach, writer.model, led=writer.is_voice, stream=stream)
    bearer = auth.issue_gateway_token(storage(), user_id=me().id, session_token=token())
    headers = {"authorization": f"Bearer {bearer}", "content-type": "application/json"}
    return gateway.forward("POST", url, headers, json.dumps(body).encode())


def whole_drafts(wish: Wish, reach: Reach, writer: Writer) -> tuple[list[str], Maker]:
    """The drafts of one column at once, each ready to be put behind the text, and who made them. Raises ValueError with
    the API's sentence."""
    answer = ask(wish, reach, writer, stream=False)
    made = drafts.texts_of(answer)
    return [draft.lstrip(" ") if wish.before[-1:].isspace() else draft for draft in made], Maker.of(answer)


def typed(name: str) -> str:
    """A text of the form, with plain newlines."""
    return request.form.get(name, "").replace("\r\n", "\n")


def page_of_another(wanted: str, voice_id: str) -> ResponseReturnValue:
    """The page of the wanted voice, with the text: the browser sends its form there once more. What stood beside the
    voice before need not be among this one's versions."""
    if wanted != voice_id:
        return redirect(url_for("write.compose", voice_id=wanted), 307)
    return page_of(voice_id, beside="")


def page_of(voice_id: str, beside: str | None = None, **shown: object) -> str:
    """The page, with what was typed, what was made and what went wrong. beside: the version or base model, in place of
    what was asked for. Raises NotFound for another's voice."""
    with storage().database.reading() as session:
        voice = voices.get_voice(session, me().id, voice_id)
        versions = voices.list_versions(session, me().id, voice_id)
        mine = voices.list_voices(session, me().id)
        has_base = base_models.current(session) is not None
        reach = columns.reach_of(session, me().id, voice_id) if has_base else None
        asked_for = request.values.get("against", "") if beside is None else beside
        against = columns.against_of(session, voice, asked_for)
    return render_template(
        "write.html",
        voice=voice,
        voices=mine,
        versions=versions,
        reach=reach,
        against=None if against == voice.active_version else against,
        lengths=LENGTHS,
        chosen={
            "length": DEFAULT_LENGTH,
            "temperature": DEFAULT_TEMPERATURE,
            "strength": DEFAULT_STRENGTH,
            "drafts": 1,
            **request.form,
        },
        most_drafts=MAX_DRAFTS,
        most_strength=MAX_STRENGTH,
        most_chars=MAX_TEXT_CHARS,
        **{"text": typed("text"), "accepted": request.form.getlist("accepted"), "made": {}, **shown},
    )
