"""`python -m benchmarks.pages`: how quick and how large every page is on a platform that has been lived in.

The web role runs as it is run, two gunicorn processes on SQLite files, with 50 users, 200 runs and a writer who has
500 samples in one voice (benchmarks/lived_in.py says how the rest is spread). Every GET route of pages is asked for by
whoever it is for; a route that is none, or can't be asked for here, is named with the reason, and an unknown one ends
the benchmark. Requests come one at a time over one connection. A page's milliseconds are from the request's first
byte to the answer's last, so the server's time and that of the loopback device; its bytes are those of a first visit,
nothing cached: the HTML and all that it refers to (style sheets, scripts, the icon), uncompressed as the role sends it.

Progress on stderr; the last line on stdout is one JSON object: worst_p95_ms, worst_bytes, and the figures of each page.
"""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from flask import Flask

from app.config import AppConfig
from app.web.accounts import setup_token
from app.web.factory import create_app
from app.web.session import COOKIE
from benchmarks.lived_in import LivedIn, Somebody, live_in
from benchmarks.other_load import OtherLoad
from benchmarks.statistics import median, percentile
from benchmarks.web_process import web_process
from storage import password_links, receipts
from storage.store import Storage

MOST_BYTES, MOST_MS = 150_000, 50.0
NO_PAGES = {
    "write.renew_token": "for the writing page's script",
    "static": "files, counted with the pages that refer to them",
    "admin.static": "files, counted with the pages that refer to them",
    "healthz": "for machines",
    "words": "a script for the pages of another language than English",
    "gateway.relay": "the API role's",
    "admin.audit.export": "a file",
    "identity.leave": "leads to the sign-in service",
    "identity.come_back": "comes from there, and leads on",
    "tuning.events": "a stream; its first event is the panel of the run's page",
}
BY_LINK = ("passwords.choose", "receipts.show")
_REFERS = re.compile(r'<(?:link|script)\b[^>]*?\b(?:href|src)="([^"]+)"')
# Home leads on, and so does what only guests are asked; the setup link was used by the administrator.
_SHUT = {"voices.home": 302, "guests.keep": 302, "accounts.set_up": 409}


@dataclass(frozen=True)
class Visit:
    """A page as somebody asks for it; nobody: as a stranger."""

    name: str
    path: str
    who: Somebody | None = None
    status: int = 200


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON object."""
    options = _options(arguments)
    with web_process() as web:
        began = time.monotonic()
        there = live_in(web.storage, options.users, options.samples, options.runs, options.seed)
        print(f"lived in after {time.monotonic() - began:.0f} s", file=sys.stderr)
        others = OtherLoad()
        measured = {visit.name: _measure(web.url, visit, options) for visit in visits(web.storage, there)}
        busy = others.cores()
    printed = {
        "worst_p95_ms": max(page["p95_ms"] for page in measured.values()),
        "worst_bytes": max(page["bytes"] for page in measured.values()),
        "slow": [name for name, page in measured.items() if page["p95_ms"] >= MOST_MS],
        "large": [name for name, page in measured.items() if page["bytes"] >= MOST_BYTES],
        "pages": measured,
        "not_pages": NO_PAGES,
        "configuration": vars(options) | {"cores": os.cpu_count(), "others_busy_cores": busy},
    }
    print(json.dumps(printed))


def visits(storage: Storage, there: LivedIn) -> list[Visit]:
    """Every page, by whoever it is for. Raises SystemExit where a route is known to nobody here."""
    app = create_app(AppConfig(), storage)
    known = list(_visits(app, there))
    asked = {endpoint for endpoint, _ in known}.union(BY_LINK)
    routes = {rule.endpoint for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    if unknown := routes - asked - NO_PAGES.keys():
        raise SystemExit(f"pages: say in benchmarks/pages.py how to ask for {', '.join(sorted(unknown))}")
    known += _visits_by_link(storage, there)
    return [visit for _, visit in known]


def _visits(app: Flask, there: LivedIn) -> Iterator[tuple[str, Visit]]:
    writer, chief = there.writer, there.administrator
    ids: dict[str, Any] = {"voice_id": writer.voice_id, "sample_id": writer.sample_id, "run_id": writer.run_id}
    ids |= {"user_id": writer.user_id, "version": 1}
    with app.test_request_context():
        token = setup_token()
    for rule in app.url_map.iter_rules():
        needed = {name: ids[name] for name in rule.arguments if name in ids}
        if "GET" not in (rule.methods or ()) or rule.endpoint in NO_PAGES or needed.keys() != rule.arguments:
            continue
        if rule.endpoint in BY_LINK:
            continue
        path = app.url_map.bind("").build(rule.endpoint, needed)
        who = chief if path.startswith("/admin") else None if rule.endpoint.startswith("accounts.") else writer
        query = f"?token={token}" if rule.endpoint == "accounts.set_up" else ""
        yield rule.endpoint, Visit(rule.endpoint, path + query, who, _SHUT.get(rule.endpoint, 200))
    yield "voices.home", Visit("voices.home, a stranger", "/")
    pages = f"/voices/{writer.voice_id}?page="
    yield "voices.show", Visit("voices.show, the oldest samples", f"{pages}1000", writer)
    yield "admin.users.index", Visit("admin.users.index, one searched for", "/admin/users?q=writer1", chief)
    yield "admin.runs.index", Visit("admin.runs.index, of one state", "/admin/runs?state=failed", chief)


def _visits_by_link(storage: Storage, there: LivedIn) -> Iterator[tuple[str, Visit]]:
    """What a stranger is shown by a link."""
    with storage.database.session() as session:
        token = password_links.make_link(
            session, there.writer.user_id, actor_id=None, lifetime_s=password_links.BY_HAND_S
        )
        receipt = receipts.write(session, "user-gone", {"voices": 2, "writing_samples": 40})
    yield "passwords.choose", Visit("passwords.choose", f"/password/new?token={token}")
    yield "receipts.show", Visit("receipts.show", f"/receipts/{receipt.id}")


def _measure(url: str, visit: Visit, options: argparse.Namespace) -> dict[str, Any]:
    cookies = {COOKIE: visit.who.token} if visit.who else {}
    with httpx.Client(base_url=url, cookies=cookies, headers={"Accept-Encoding": "identity"}, timeout=60) as client:
        for _ in range(options.warm_up):
            first = _ask(client, visit)
        taken = []
        for _ in range(options.requests):
            began = time.perf_counter()
            _ask(client, visit)
            taken.append(1000 * (time.perf_counter() - began))
        referred = {address: len(client.get(address).raise_for_status().content) for address in _referred(first.text)}
    page = {
        "p50_ms": median(taken, 1),
        "p95_ms": round(percentile(taken, 95), 1),
        "html_bytes": len(first.content),
        "bytes": len(first.content) + sum(referred.values()),
    }
    print(f"{visit.name}: {page}", file=sys.stderr, flush=True)
    return page


def _ask(client: httpx.Client, visit: Visit) -> httpx.Response:
    answer = client.get(visit.path)
    if answer.status_code != visit.status:
        raise SystemExit(f"pages: {visit.name} was answered with {answer.status_code}, not {visit.status}")
    return answer


def _referred(html: str) -> set[str]:
    """What a browser fetches for the page by itself."""
    return {address.replace("&amp;", "&") for address in _REFERS.findall(html)}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--samples", type=int, default=500, help="of the one writer, in one voice")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--requests", type=int, default=100, help="of each page, timed")
    parser.add_argument("--warm-up", type=int, default=5, help="requests of each page before those")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
