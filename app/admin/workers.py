"""The workers and the queue: who gives signs of life, who trains what, how many runs wait; and maintenance, while which
no worker takes a run up."""

from collections.abc import Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.admin import health
from app.admin.gate import needs
from app.admin.ordering import Key, Order
from app.web.session import me, storage
from app.web.words import gettext, ngettext, told
from storage import audit, clock, maintenance
from storage import workers as worker_store
from storage.errors import Conflict
from storage.models import WorkerHeartbeat

workers = Blueprint("workers", __name__, url_prefix="/workers")
COLUMNS: Mapping[str, Key[WorkerHeartbeat]] = {
    "name": lambda worker: worker.name,
    "started": lambda worker: worker.started_at,
    "seen": lambda worker: worker.last_seen_at,
    "run": lambda worker: worker.run_id or "",
}


@workers.get("")
@needs("auditor")
def index(typed: str = "", error: str = "") -> ResponseReturnValue:
    """Workers as a table, the queue as figures."""
    order = Order.read(request.args.get("sort", ""), COLUMNS, default="name")
    now = health.look(storage())
    with storage().database.reading() as session:
        rows = order.apply(worker_store.list_workers(session), COLUMNS)
    page = render_template(
        "admin/workers.html",
        workers=rows,
        order=order,
        health=now,
        now=clock.now(),
        silent_s=worker_store.SILENT_AFTER_S,
        most_reason=maintenance.MAX_REASON_CHARS,
        typed=typed,
        error=error,
    )
    return page, 422 if error else 200


@workers.post("/maintenance/begin")
@needs("operator")
def begin_maintenance() -> ResponseReturnValue:
    """From now on no worker takes a run up."""
    reason = request.form.get("reason", "")
    try:
        with storage().database.session() as session:
            maintenance.begin(session, reason, me().id)
    except Conflict as wrong:
        return index(typed=reason, error=told(str(wrong)))
    flash(gettext("Maintenance is on: no worker takes a run up. What they hold goes on to its end."))
    return redirect(url_for("admin.workers.index"))


@workers.post("/maintenance/end")
@needs("operator")
def end_maintenance() -> ResponseReturnValue:
    """Trainings begin again; a worker's timer announces those that waited."""
    with storage().database.session() as session:
        waiting = maintenance.end(session, me().id)
    if waiting:
        said = ngettext(
            "Maintenance is over. %(num)s run that waits is announced within ten seconds.",
            "Maintenance is over. %(num)s runs that wait are announced within ten seconds.",
            waiting,
        )
    else:
        said = gettext("Maintenance is over. No run waits.")
    flash(said)
    return redirect(url_for("admin.workers.index"))


@workers.post("/<path:name>/forget")
@needs("operator")
def forget(name: str) -> ResponseReturnValue:
    """Take a worker that will not come back off the list. One that lives is back at its next sign of life."""
    with storage().database.session() as session:
        if any(worker.name == name for worker in worker_store.list_workers(session)):
            worker_store.forget(session, name)
            audit.record(session, "worker.forgotten", actor_id=me().id, subject_id=name)
    flash(gettext("Forgotten. If it still lives, it is back within a minute."))
    return redirect(url_for("admin.workers.index"))
