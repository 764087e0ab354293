"""How quick and how large the pages are, on a small platform and the real web role."""

import json
import re
from pathlib import Path

import pytest

from app.config import AppConfig
from app.web.factory import create_app
from benchmarks import pages
from storage.store import Storage
from tests.app.web.browser import join


def test_every_page_is_timed_and_weighed(capsys: pytest.CaptureFixture[str]) -> None:
    pages.main(["--users", "4", "--samples", "30", "--runs", "20", "--requests", "2", "--warm-up", "1"])
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    told = printed["pages"]
    assert {"voices.show", "write.page", "tuning.show", "admin.runs.show", "accounts.sign_in"} <= told.keys()
    assert printed["worst_bytes"] == max(page["bytes"] for page in told.values())
    assert printed["worst_p95_ms"] == max(page["p95_ms"] for page in told.values()) > 0
    for name, page in told.items():
        assert 0 < page["p50_ms"] <= page["p95_ms"], name
    assert told["voices.index"]["bytes"] > told["voices.index"]["html_bytes"]


def test_a_first_visit_takes_all_that_the_page_refers_to(storage: Storage) -> None:
    ada = join(create_app(AppConfig(), storage), storage, "ada@example.org")
    html = ada.browser.get(ada.url).text
    names = {Path(re.sub(r"\?.*", "", address)).name for address in pages._referred(html)}
    assert names == {
        "style.css",
        "times.js",
        "words.js",
        "samples.js",
        "icon.svg",
        *_vendored("htmx-2"),
        *_vendored("htmx-ext-sse"),
    }


def _vendored(name: str) -> set[str]:
    return {path.name for path in Path("app/web/static/vendor").glob(f"{name}*.js")}


def test_a_page_that_nobody_here_can_ask_for_ends_the_benchmark(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_a_new_page(*given: object) -> object:
        app = create_app(*given)  # type: ignore[arg-type]
        app.add_url_rule("/new/<thing>", "new.page", lambda thing: thing)
        return app

    monkeypatch.setattr(pages, "create_app", with_a_new_page)
    somebody = pages.Somebody("user-1", "token", "voice-1", "sample-1", "run-1")
    with pytest.raises(SystemExit, match=r"new\.page"):
        pages.visits(storage, pages.LivedIn(somebody, somebody))
