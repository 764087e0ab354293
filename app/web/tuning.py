"""Training as a person meets it: ask for it, watch it live, pause it, stop it, read what came of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from socket import socket
from typing import cast

from flask import (
    Blueprint,
    Flask,
    Response,
    copy_current_request_context,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue

from app.callers import caller_socket, has_gone
from app.config import WEB_EVENT_STREAMS
from app.seats import MAX_EVENT_STREAMS, Seats
from app.web import run_report
from app.web.run_report import Mark, RunReport
from app.web.session import me, sign_in_required, storage, token
from app.web.words import gettext, told
from storage import tuning_runs, voices, web_sessions
from storage.errors import InvalidSample, LimitReached, NotFound
from storage.store import Storage
from tuning.celery_app import enqueue_tuning

tuning = Blueprint("tuning", __name__)
tuning.before_request(sign_in_required)
POLL_S = 0.5
PING_S = 10.0
CHECK_S = 10.0  # how often a stream asks whether its session still stands, however much it has to say
LONGEST_S = 600.0  # then the browser asks again by itself, so no thread is held for ever
SEATS = "run_event_seats"


def install(app: Flask) -> None:
    """The seats of this process: every stream holds a thread, and pages must always find one."""
    app.extensions[SEATS] = Seats(MAX_EVENT_STREAMS, "live views", in_all=WEB_EVENT_STREAMS)


@tuning.post("/voices/<voice_id>/tuning")
def request_run(voice_id: str) -> ResponseReturnValue:
    """Ask for a training. The request is kept even when the queue can't be reached: a timer sends it later."""
    try:
        with storage().database.session() as session:
            run, created = tuning_runs.request_run(session, user_id=me().id, voice_id=voice_id)
    except (InvalidSample, LimitReached) as wrong:
        flash(told(str(wrong)), "error")
        anchor = "samples" if isinstance(wrong, InvalidSample) else "voice"
        return redirect(url_for("voices.show", voice_id=voice_id, _anchor=anchor))
    if created and not enqueue_tuning(run.id):
        flash(gettext("The queue is not answering just now. Your request is kept and starts when it does."))
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


@tuning.post("/runs/<run_id>/pause")
def pause(run_id: str) -> ResponseReturnValue:
    """Put a run aside: at once while it waits, after the present step while it trains."""
    with storage().database.session() as session:
        run = tuning_runs.pause_run(session, user_id=me().id, run_id=run_id, actor_id=me().id)
    return redirect(url_for("voices.show", voice_id=run.voice_id, _anchor="voice"))


@tuning.post("/runs/<run_id>/resume")
def resume(run_id: str) -> ResponseReturnValue:
    """Let a paused run go on. Kept when the queue can't be reached, as a request is."""
    with storage().database.session() as session:
        run, queued = tuning_runs.resume_run(session, user_id=me().id, run_id=run_id, actor_id=me().id)
    if queued and not enqueue_tuning(run_id):
        flash(gettext("The queue is not answering just now. Your training goes on when it does."))
    return redirect(url_for("voices.show", voice_id=run.voice_id, _anchor="voice"))


@tuning.get("/runs/<run_id>/events")
def events(run_id: str) -> ResponseReturnValue:
    """The run as server-sent events: `progress` carries the panel as HTML, `standing` the same in a word or two,
    `ended` closes. A page that gets no seat
    keeps what it shows and asks again, at longer and longer intervals."""
    with storage().database.reading() as session:
        tuning_runs.get_run(session, me().id, run_id)
    poll_s = float(current_app.config.get("RUN_POLL_S", POLL_S))
    watch = Watch(storage(), me().id, run_id, token(), poll_s, caller_socket(request.environ))
    with ExitStack() as held:  # the seat: given back here, or when the stream is closed
        held.enter_context(cast(Seats, current_app.extensions[SEATS]).one(me().id))
        frames = live_frames(watch, copy_current_request_context(news))
        response = Response(frames, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
        response.call_on_close(held.pop_all().close)
        return response


def news(report: RunReport) -> str:
    """What the page shows of a run, as events."""
    panel = frame("progress", render_template("_run.html", report=report))
    return panel + (frame("standing", render_template("_run_standing.html", report=report)) if report.live else "")


@dataclass(frozen=True)
class Watch:
    """Who watches which run, in which session; all that a stream needs once its request has been answered. caller:
    their connection, where it can be looked at."""

    storage: Storage
    user_id: str
    run_id: str
    session_token: str
    poll_s: float
    caller: socket | None = None

    def changed_since(self, seen: Mark | None) -> tuple[Mark, RunReport | None]:
        """The run's mark, and its report when that differs from `seen`. Raises NotFound."""
        with self.storage.database.reading() as session:
            now = run_report.mark(session, self.user_id, self.run_id)
            return now, run_report.report(session, self.user_id, self.run_id) if now != seen else None

    def is_allowed(self) -> bool:
        """Whether the session behind the stream still stands."""
        return web_sessions.recognise(self.storage.database, web_sessions.hashed(self.session_token)) is not None


def live_frames(watch: Watch, show: Callable[[RunReport], str]) -> Iterator[str]:
    """Frames until the run ends, the person leaves, is signed out or suspended, or LONGEST_S have passed. show: makes
    those of a run that has changed."""
    seen: Mark | None = None
    began = spoke = checked = time.monotonic()
    while time.monotonic() - began < LONGEST_S and not has_gone(watch.caller):
        if time.monotonic() - checked > CHECK_S:
            checked = time.monotonic()
            if not watch.is_allowed():
                return
        try:
            seen, report = watch.changed_since(seen)
        except NotFound:  # deleted meanwhile, with its voice
            yield frame("ended", "")
            return
        if report is not None:
            spoke = time.monotonic()
            yield show(report)
            if not report.live:
                yield frame("ended", "")
                return
        elif time.monotonic() - spoke > PING_S:
            spoke = time.monotonic()
            yield ": ping\n\n"
        time.sleep(watch.poll_s)


def frame(event: str, html: str) -> str:
    """One server-sent event; each line of the HTML is a data line."""
    lines = "".join(f"data: {line}\n" for line in html.splitlines()) or "data: \n"
    return f"event: {event}\n{lines}\n"
