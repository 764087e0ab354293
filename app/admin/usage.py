"""What is asked of the API, by day and by person, and how long it takes."""

from collections.abc import Mapping
from datetime import UTC, datetime

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from app.admin.gate import needs
from app.web.session import storage
from app.web.stacked_bars import Chart, stack
from app.web.words import ngettext
from storage import clock, latency
from storage import usage as usage_store
from storage.latency import Kind

usage = Blueprint("usage", __name__, url_prefix="/usage")
DAYS = (7, 30, 90)
HOURS = 48
MOST_SHARES = 50
HALF, MOST = 50.0, 95.0  # per cent of the answers


@usage.get("")
@needs("auditor")
def index() -> ResponseReturnValue:
    """Charts and the greatest shares of the last days that the address names."""
    asked = request.args.get("days", type=int)
    days = asked if asked in DAYS else DAYS[1]
    with storage().database.reading() as session:
        by_day = usage_store.by_day(session, days)
        shares = usage_store.greatest_shares(session, days, MOST_SHARES)
        waits = {kind: waiting(session, kind) for kind in ("text", "other")}
    return render_template(
        "admin/usage.html",
        days=days,
        choices=[(str(number), ngettext("%(num)s day", "%(num)s days", number)) for number in DAYS],
        total=sum(by_day.values(), start=usage_store.Counts()),
        requests=stack([(day, (counts.requests,)) for day, counts in by_day.items()]),
        tokens=stack([(day, (counts.prompt_tokens, counts.completion_tokens)) for day, counts in by_day.items()]),
        shares=shares,
        most_shares=MOST_SHARES,
        waits=waits,
        hours=HOURS,
    )


def waiting(session: Session, kind: Kind) -> tuple[Chart, int | None, int | None, int]:
    """How long answers of a kind took in the last HOURS: as a chart by hour (what half of them kept and, above it, what
    95 in 100 kept), both bounds over all of it, and how many answers there were."""
    found = latency.by_hour(session, kind, HOURS)
    all_of_it = latency.together(found.values())
    hours = [latency.hour_of(clock.now() - ago * latency.HOUR_S) for ago in range(HOURS - 1, -1, -1)]
    chart = stack([(_moment(hour), _bounds(found.get(hour, {}))) for hour in hours])
    return chart, latency.within(all_of_it, HALF), latency.within(all_of_it, MOST), sum(all_of_it.values())


def _bounds(counts: Mapping[int, int]) -> tuple[float, float]:
    half, most = latency.within(counts, HALF) or 0, latency.within(counts, MOST) or 0
    return half, most - half


def _moment(hour: str) -> str:
    """An hour's name with its minutes, as a <time> has it."""
    return datetime.strptime(hour, "%Y-%m-%dT%H").replace(tzinfo=UTC).strftime("%Y-%m-%d %H:00 UTC")
