"""The audit trail: who did what to whom, newest first. It can be read, filtered and taken along here, and changed
nowhere."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self

from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from app.admin.gate import needs
from app.web.session import storage
from storage import audit as audit_store
from storage import users
from storage.models import AuditEvent
from storage.store import Storage

audit = Blueprint("audit", __name__, url_prefix="/audit")
PAGE = 100
EXPORT_PAGE = 500
FIELDS = ("action", "by", "on", "from", "to")
COLUMNS = ("id", "at", "actor", "action", "subject", "detail")
FORMATS = {"csv": "text/csv", "jsonl": "application/jsonl"}


@dataclass(frozen=True)
class Filter:
    """What of the trail is asked for, as it stands in the address. Days are UTC, the last one included; a day that is
    none is as good as not given."""

    chosen: dict[str, str]

    @classmethod
    def read(cls, given: MultiDict[str, str]) -> Self:
        """From the address."""
        return cls({name: given.get(name, "").strip() for name in FIELDS})

    @property
    def link(self) -> dict[str, str]:
        """The part of it that says something, for an address."""
        return {name: value for name, value in self.chosen.items() if value}

    def find(self, session: Session, *, before: int | None, limit: int) -> list[AuditEvent]:
        """The events."""
        return audit_store.list_events(
            session,
            action=self.chosen["action"] or None,
            actor_id=_id_of(session, self.chosen["by"]),
            subject_id=_id_of(session, self.chosen["on"]),
            since=_midnight(self.chosen["from"]),
            until=_midnight(self.chosen["to"], days=1),
            before=before,
            limit=limit,
        )


@audit.get("")
@needs("auditor")
def index() -> ResponseReturnValue:
    """A page of events: of one action, by one person, on one person or run, of some days, as the address says."""
    wanted, before = Filter.read(request.args), request.args.get("before", type=int)
    with storage().database.reading() as session:
        events = wanted.find(session, before=before, limit=PAGE + 1)
        actions = audit_store.list_actions(session)
    more = events[PAGE - 1].id if len(events) > PAGE else None
    return render_template(
        "admin/audit.html", events=events[:PAGE], actions=actions, wanted=wanted, more=more, first=before is None
    )


@audit.get("/export.<form>")
@needs("auditor")
def export(form: str) -> ResponseReturnValue:
    """All that the filter finds, however much, as CSV or JSON lines."""
    if form not in FORMATS:
        abort(404)
    events = _all(storage(), Filter.read(request.args))
    rows = _as_csv(events) if form == "csv" else _as_json_lines(events)
    name = f"audit-{datetime.now(UTC):%Y-%m-%d}.{form}"
    headers = {"Content-Disposition": f"attachment; filename={name}"}
    return Response(rows, mimetype=FORMATS[form], headers=headers)


def _all(bundle: Storage, wanted: Filter) -> Iterator[AuditEvent]:
    """Page by page, each in a transaction of its own: a slow reader holds none."""
    before = None
    while True:
        with bundle.database.reading() as session:
            events = wanted.find(session, before=before, limit=EXPORT_PAGE)
        yield from events
        if len(events) < EXPORT_PAGE:
            return
        before = events[-1].id


def _as_csv(events: Iterator[AuditEvent]) -> Iterator[str]:
    """Details as JSON, so that no cell can begin with what a spreadsheet would take for a formula."""
    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow(COLUMNS)
    for event in events:
        row = _row(event)
        writer.writerow([*list(row.values())[:-1], json.dumps(row["detail"], ensure_ascii=False)])
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


def _as_json_lines(events: Iterator[AuditEvent]) -> Iterator[str]:
    for event in events:
        yield json.dumps(_row(event), ensure_ascii=False) + "\n"


def _row(event: AuditEvent) -> dict[str, Any]:
    at = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds")
    values = (event.id, at, event.actor_id, event.action, event.subject_id, event.detail)
    return dict(zip(COLUMNS, values, strict=True))


def _id_of(session: Session, typed: str) -> str | None:
    """Who or what was typed: an id, or the address of somebody who has an account."""
    user = users.find_by_email(session, typed) if "@" in typed else None
    return (user.id if user else typed) or None


def _midnight(day: str, days: int = 0) -> float | None:
    try:
        given = date.fromisoformat(day) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return datetime(given.year, given.month, given.day, tzinfo=UTC).timestamp()
