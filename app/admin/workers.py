"""The workers and the queue: who gives signs of life, who trains what, how many runs wait."""

from collections.abc import Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.admin import health
from app.admin.gate import needs
from app.admin.ordering import Key, Order
from app.web.session import me, storage
from storage import audit, clock
from storage import workers as worker_store
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
def index() -> ResponseReturnValue:
    """Workers as a table, the queue as figures."""
    order = Order.read(request.args.get("sort", ""), COLUMNS, default="name")
    now = health.look(storage())
    with storage().database.reading() as session:
        rows = order.apply(worker_store.list_workers(session), COLUMNS)
    return render_template(
        "admin/workers.html",
        workers=rows,
        order=order,
        health=now,
        now=clock.now(),
        silent_s=worker_store.SILENT_AFTER_S,
    )


@workers.post("/<path:name>/forget")
@needs("operator")
def forget(name: str) -> ResponseReturnValue:
    """Take a worker that will not come back off the list. One that lives is back at its next sign of life."""
    with storage().database.session() as session:
        if any(worker.name == name for worker in worker_store.list_workers(session)):
            worker_store.forget(session, name)
            audit.record(session, "worker.forgotten", actor_id=me().id, subject_id=name)
    flash("Forgotten. If it still lives, it is back within a minute.")
    return redirect(url_for("admin.workers.index"))
