"""Training runs of everybody: find by what became of them, read one from request to result, cancel it, run it again,
take it back from a worker that does nothing with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from app.admin.gate import needs
from app.web import run_report
from app.web.session import me, storage
from app.web.words import gettext, marked, told, word
from storage import base_models, clock, run_claims, run_search, tuning_runs, users
from storage.errors import Conflict, InvalidSample, LimitReached
from storage.models import CLAIMED_STATES, ENDED_STATES, LIVE_STATES, RunState
from storage.run_search import RunFilter
from tuning.celery_app import enqueue_tuning

runs = Blueprint("runs", __name__, url_prefix="/runs")
PAGE = 50
METRICS = 60
LOST = "lost"
STATES: Mapping[str, tuple[RunState, ...]] = {
    **{state: (state,) for state in (*LIVE_STATES, *ENDED_STATES)},
    "training": CLAIMED_STATES,
    LOST: CLAIMED_STATES,
}
STATE_NAMES: Mapping[str, str] = {
    "queued": marked("queued"),
    "leased": marked("claimed by a worker"),
    "running": marked("running"),
    "committing": marked("being put to use"),
    "paused": marked("paused"),
    "succeeded": marked("succeeded"),
    "failed": marked("failed"),
    "cancelled": marked("cancelled"),
}
CHOICES = (
    ("", marked("all")),
    *((state, STATE_NAMES[state]) for state in LIVE_STATES),
    ("training", marked("with a worker")),
    (LOST, marked("lost")),
    *((state, STATE_NAMES[state]) for state in ENDED_STATES),
)
LEVELS = (marked("info"), marked("warning"), marked("error"))  # of a line in a run's log
WITHIN = {"day": run_search.DAY_S, "week": 7 * run_search.DAY_S}
FIELDS = ("state", "user", "model", "cause", "within")


def state_name(state: str) -> str:
    """What a run's state is called in the console."""
    return word(STATE_NAMES[state])


runs.add_app_template_filter(state_name)


@dataclass(frozen=True)
class Asked:
    """Which runs are asked for, as it stands in the address. What is none of the choices is as good as not given."""

    chosen: dict[str, str]

    @classmethod
    def read(cls, given: MultiDict[str, str]) -> Self:
        """From the address."""
        chosen = {name: given.get(name, "").strip() for name in FIELDS}
        chosen["state"] = chosen["state"] if chosen["state"] in STATES else ""
        chosen["within"] = chosen["within"] if chosen["within"] in WITHIN else ""
        return cls(chosen)

    @property
    def link(self) -> dict[str, str]:
        """The part of it that says something, for an address."""
        return {name: value for name, value in self.chosen.items() if value}

    def filter(self, session: Session) -> RunFilter:
        """For storage. Somebody may be named by their address."""
        asked = self.chosen
        user = users.find_by_email(session, asked["user"]) if "@" in asked["user"] else None
        return RunFilter(
            states=STATES.get(asked["state"], ()),
            user_id=(user.id if user else asked["user"]) or None,
            base_fingerprint=asked["model"] or None,
            cause=asked["cause"] or None,
            ended_since=clock.now() - WITHIN[asked["within"]] if asked["within"] else None,
            lost=asked["state"] == LOST,
        )


@runs.get("")
@needs("auditor")
def index() -> ResponseReturnValue:
    """Everybody's runs, newest first, as the address narrows them down."""
    asked, after = Asked.read(request.args), request.args.get("after")
    with storage().database.reading() as session:
        wanted = asked.filter(session)
        found = run_search.find(session, wanted, after=after, limit=PAGE + 1)
        count = run_search.count(session, wanted)
        owners = {user_id: users.get_user(session, user_id) for user_id in {run.user_id for run in found}}
        models = base_models.list_all(session)
        causes = [cause.code for cause in run_search.causes(session)]
    return render_template(
        "admin/runs.html",
        runs=found[:PAGE],
        count=count,
        owners=owners,
        asked=asked,
        choices=CHOICES,
        models=models,
        causes=causes,
        more=found[PAGE - 1].id if len(found) > PAGE else None,
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
        names = {model.fingerprint: model.name for model in base_models.list_all(session)}
    return render_template(
        "admin/run.html",
        report=report,
        owner=owner,
        now=clock.now(),
        model_names=names,
        newest_metrics=report.metrics[-METRICS:],
    )


@runs.post("/<run_id>/cancel")
@needs("operator")
def cancel(run_id: str) -> ResponseReturnValue:
    """Stop a run: at once while it waits, after the worker's present step otherwise."""
    try:
        with storage().database.session() as session:
            tuning_runs.cancel_run(session, user_id=None, run_id=run_id, actor_id=me().id)
        flash(gettext("Cancelled, or about to be: a worker stops after its present step."))
    except Conflict as wrong:
        flash(told(str(wrong)), "error")
    return redirect(url_for("admin.runs.show", run_id=run_id))


@runs.post("/<run_id>/rescue")
@needs("operator")
def rescue(run_id: str) -> ResponseReturnValue:
    """Take a run back from its worker and hand it to another."""
    try:
        with storage().database.session() as session:
            tuning_runs.get_run(session, None, run_id)
            queued = run_claims.rescue(session, run_id, me().id)
    except Conflict as wrong:
        flash(told(str(wrong)), "error")
        return redirect(url_for("admin.runs.show", run_id=run_id))
    if queued:
        enqueue_tuning(run_id)
    flash(
        gettext("In the queue again, with what was reached.") if queued else gettext("Paused, as its owner had asked.")
    )
    return redirect(url_for("admin.runs.show", run_id=run_id))


@runs.post("/<run_id>/retry")
@needs("operator")
def retry(run_id: str) -> ResponseReturnValue:
    """A new run of the same voice. Kept when the queue can't be reached: a timer sends it later."""
    try:
        with storage().database.session() as session:
            run = tuning_runs.retry_run(session, run_id, actor_id=me().id)
    except (Conflict, InvalidSample, LimitReached) as wrong:
        flash(told(str(wrong)), "error")
        return redirect(url_for("admin.runs.show", run_id=run_id))
    sent = enqueue_tuning(run.id)
    flash(
        gettext("Asked for again.")
        if sent
        else gettext("Asked for again. The queue is not answering; the run starts when it does.")
    )
    return redirect(url_for("admin.runs.show", run_id=run.id))
