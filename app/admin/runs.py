"""Training runs of everybody: find by state, read one from request to result, cancel it, run it again."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.admin.gate import needs
from app.web import run_report
from app.web.session import me, storage
from storage import clock, tuning_runs, users
from storage.errors import Conflict, InvalidSample, LimitReached
from storage.models import ENDED_STATES, LIVE_STATES
from tuning.celery_app import enqueue_tuning

runs = Blueprint("runs", __name__, url_prefix="/runs")
PAGE = 50
STATES = (*LIVE_STATES, *ENDED_STATES)
CHOICES = (("", "all"), *((state, state) for state in STATES))


@runs.get("")
@needs("auditor")
def index() -> ResponseReturnValue:
    """Everybody's runs, newest first, in one state when `state` is given."""
    asked, after = request.args.get("state", ""), request.args.get("after")
    state = next((state for state in STATES if state == asked), None)
    with storage().database.reading() as session:
        found = tuning_runs.list_all_runs(session, state=state, after=after, limit=PAGE + 1)
        owners = {user_id: users.get_user(session, user_id) for user_id in {run.user_id for run in found}}
    more = found[PAGE - 1].id if len(found) > PAGE else None
    return render_template(
        "admin/runs.html",
        runs=found[:PAGE],
        owners=owners,
        state=state or "",
        choices=CHOICES,
        more=more,
        first=not after,
    )


@runs.get("/<run_id>")
@needs("auditor")
def show(run_id: str) -> ResponseReturnValue:
    """One run: its state, figures, curve and log. The log speaks of steps and losses, never of what was written."""
    with storage().database.reading() as session:
        run = tuning_runs.get_run(session, None, run_id)
        report = run_report.report(session, run.user_id, run_id)
        owner = users.get_user(session, run.user_id)
    return render_template("admin/run.html", report=report, owner=owner, now=clock.now())


@runs.post("/<run_id>/cancel")
@needs("operator")
def cancel(run_id: str) -> ResponseReturnValue:
    """Stop a run: at once while it waits, after the worker's present step otherwise."""
    try:
        with storage().database.session() as session:
            tuning_runs.cancel_run(session, user_id=None, run_id=run_id, actor_id=me().id)
        flash("Cancelled, or about to be: a worker stops after its present step.")
    except Conflict as wrong:
        flash(str(wrong), "error")
    return redirect(url_for("admin.runs.show", run_id=run_id))


@runs.post("/<run_id>/retry")
@needs("operator")
def retry(run_id: str) -> ResponseReturnValue:
    """A new run of the same voice. Kept when the queue can't be reached: a timer sends it later."""
    try:
        with storage().database.session() as session:
            run = tuning_runs.retry_run(session, run_id, actor_id=me().id)
    except (Conflict, InvalidSample, LimitReached) as wrong:
        flash(str(wrong), "error")
        return redirect(url_for("admin.runs.show", run_id=run_id))
    sent = enqueue_tuning(run.id)
    flash("Asked for again." if sent else "Asked for again. The queue is not answering; the run starts when it does.")
    return redirect(url_for("admin.runs.show", run_id=run.id))
