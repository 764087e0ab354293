"""The audit trail: who did what to whom, newest first. It can be read and filtered here, and changed nowhere."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from app.admin.gate import needs
from app.web.session import storage
from storage import audit as audit_store

audit = Blueprint("audit", __name__, url_prefix="/audit")
PAGE = 100


@audit.get("")
@needs("auditor")
def index() -> ResponseReturnValue:
    """A page of events: of one action, by one person, on one person or run, as the address says."""
    chosen = {name: request.args.get(name, "").strip() for name in ("action", "by", "on")}
    before = request.args.get("before", type=int)
    with storage().database.reading() as session:
        events = audit_store.list_events(
            session,
            action=chosen["action"] or None,
            actor_id=chosen["by"] or None,
            subject_id=chosen["on"] or None,
            before=before,
            limit=PAGE + 1,
        )
        actions = audit_store.list_actions(session)
    more = events[PAGE - 1].id if len(events) > PAGE else None
    return render_template(
        "admin/audit.html", events=events[:PAGE], actions=actions, chosen=chosen, more=more, first=before is None
    )
