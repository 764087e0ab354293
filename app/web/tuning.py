"""Training as a person meets it: ask for it, watch it live, stop it, read what came of it."""

import time
from collections.abc import Iterator

from flask import Blueprint, Response, current_app, flash, redirect, render_template, stream_with_context, url_for
from flask.typing import ResponseReturnValue

from app.web import run_report
from app.web.session import me, sign_in_required, storage, token
from storage import tuning_runs, voices, web_sessions
from storage.errors import InvalidSample, NotFound
from tuning.celery_app import enqueue_tuning

tuning = Blueprint("tuning", __name__)
tuning.before_request(sign_in_required)
POLL_S = 0.5
PING_S = 10.0
LONGEST_S = 600.0  # then the browser asks again by itself, so no thread is held for ever


@tuning.post("/voices/<voice_id>/tuning")
def request_run(voice_id: str) -> ResponseReturnValue:
    """Ask for a training. The request is kept even when the queue can't be reached: a timer sends it later."""
    try:
        with storage().database.session() as session:
            run, created = tuning_runs.request_run(session, user_id=me().id, voice_id=voice_id)
    except InvalidSample as wrong:
        flash(str(wrong), "error")
        return redirect(url_for("voices.show", voice_id=voice_id, _anchor="samples"))
    if created and not enqueue_tuning(run.id):
        flash("The queue is not answering just now. Your request is kept and starts when it does.")
    return redirect(url_for("voices.show", voice_id=voice_id, _anchor="voice"))


@tuning.get("/runs/<run_id>")
def show(run_id: str) -> ResponseReturnValue:
    """One run from request to result."""
    with storage().database.reading() as session:
        report = run_report.report(session, me().id, run_id)
        voice = voices.get_voice(session, me().id, report.run.voice_id)
    return render_template("run.html", report=report, voice=voice)


@tuning.post("/runs/<run_id>/cancel")
def cancel(run_id: str) -> ResponseReturnValue:
    """Stop a run: at once while it waits, after the present step while it trains."""
    with storage().database.session() as session:
        run = tuning_runs.get_run(session, me().id, run_id)
        tuning_runs.cancel_run(session, user_id=me().id, run_id=run_id, actor_id=me().id)
    return redirect(url_for("voices.show", voice_id=run.voice_id, _anchor="voice"))


@tuning.get("/runs/<run_id>/events")
def events(run_id: str) -> ResponseReturnValue:
    """The run as server-sent events: `progress` carries the panel as HTML, `ended` closes."""
    with storage().database.reading() as session:
        tuning_runs.get_run(session, me().id, run_id)
    frames = stream_with_context(live_frames(me().id, run_id, token()))
    return Response(frames, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})


def live_frames(user_id: str, run_id: str, session_token: str) -> Iterator[str]:
    """Frames until the run ends, the person is signed out or suspended, or LONGEST_S have passed."""
    poll_s = float(current_app.config.get("RUN_POLL_S", POLL_S))
    seen: tuple[object, ...] | None = None
    began = spoke = time.monotonic()
    while time.monotonic() - began < LONGEST_S:
        with storage().database.reading() as session:
            try:
                now = run_report.mark(session, user_id, run_id)
            except NotFound:  # deleted meanwhile, with its voice
                yield frame("ended", "")
                return
            report = run_report.report(session, user_id, run_id) if now != seen else None
        if report is not None:
            seen, spoke = now, time.monotonic()
            yield frame("progress", render_template("_run.html", report=report))
            if not report.live:
                yield frame("ended", "")
                return
        elif time.monotonic() - spoke > PING_S:
            spoke = time.monotonic()
            if not still_signed_in(session_token):
                return
            yield ": ping\n\n"
        time.sleep(poll_s)


def still_signed_in(session_token: str) -> bool:
    """Whether the session behind an open stream still stands."""
    with storage().database.session() as session:
        return web_sessions.find(session, session_token) is not None


def frame(event: str, html: str) -> str:
    """One server-sent event; each line of the HTML is a data line."""
    lines = "".join(f"data: {line}\n" for line in html.splitlines()) or "data: \n"
    return f"event: {event}\n{lines}\n"
