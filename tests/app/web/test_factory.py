import hashlib
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from flask import Flask

from app.config import AppConfig
from app.web.assets import STATIC
from app.web.factory import create_app
from tests.app.web.browser import Browser, Person

ROOT = Path(__file__).resolve().parents[3]
VENDOR = STATIC / "vendor"
START = "from app.web.factory import create_app; create_app()"
LOOK = "import sys, app.web.factory; print([n for n in ('torch', 'transformers') if n in sys.modules]); "


@cache
def start(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("IDIOLECT_")}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**plain, **env}, capture_output=True, text=True, check=False
    )


def test_the_web_role_never_loads_torch() -> None:
    assert start(LOOK + START).stdout.strip() == "[]"


def test_a_missing_setting_is_one_line_and_an_exit_code() -> None:
    done = start(LOOK + START)
    assert done.returncode == 2
    assert done.stderr.startswith("idiolect web: IDIOLECT_DATABASE_URL is not set")
    assert len(done.stderr.splitlines()) == 1


def test_a_database_that_was_not_migrated_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    done = start(
        START,
        IDIOLECT_DATABASE_URL=f"sqlite:///{tmp_path}/a.db",
        IDIOLECT_KEY_STORE_URL=f"sqlite:///{tmp_path}/b.db",
        IDIOLECT_CACHE_URL="redis://127.0.0.1:1",
        IDIOLECT_MASTER_KEY="00" * 32,
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_health_is_answered_to_anyone(browser: Browser) -> None:
    assert browser.get("/healthz").json == {"status": "ok"}


@pytest.mark.parametrize("path", ["/", "/signin", "/nowhere", "/healthz", "/static/style.css", "/v1/models"])
def test_every_answer_carries_the_security_headers(browser: Browser, path: str) -> None:
    headers = browser.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"


def test_pages_of_people_are_not_kept_by_browsers_and_static_files_are(ada: Person) -> None:
    assert ada.browser.get("/account").headers["Cache-Control"] == "no-store"
    page = ada.browser.get("/account").text
    address = re.search(r'href="(/static/style\.css\?v=[0-9a-f]{10})"', page)
    assert address
    assert "max-age=31536000" in ada.browser.get(address.group(1)).headers["Cache-Control"]


def forms(app: Flask) -> list[str]:
    return [
        rule.rule
        for rule in app.url_map.iter_rules()
        if "POST" in (rule.methods or set()) and not rule.rule.startswith("/v1/")
    ]


def test_every_form_refuses_a_request_without_its_token(ada: Person) -> None:
    tried = 0
    for rule in forms(ada.browser.app):
        path = re.sub(r"<[^>]+>", "x", rule)
        answer = ada.browser.client.post(path, data={"text": "what I typed"})
        assert answer.status_code == 400, rule
        assert "stale" in answer.text
        tried += 1
    assert tried > 15


def test_a_stale_form_shows_what_was_typed(ada: Person) -> None:
    answer = ada.browser.client.post(f"{ada.url}/samples", data={"text": "My long letter", "csrf_token": "old"})
    assert answer.status_code == 400
    assert "My long letter" in answer.text


def test_a_broken_view_is_a_page_and_not_a_stack_trace(app: Flask) -> None:
    def broken() -> str:
        raise RuntimeError("secret detail")

    app.add_url_rule("/broken", "broken", broken)
    answer = app.test_client().get("/broken")
    assert answer.status_code == 500
    assert "Something broke on our side" in answer.text
    assert "secret" not in answer.text


def test_a_wrong_method_is_explained(browser: Browser) -> None:
    answer = browser.get("/signout")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]


def test_vendored_files_are_the_ones_that_were_taken() -> None:
    listed = dict(reversed(line.split(maxsplit=1)) for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
    present = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    present.pop("SHA256SUMS")
    assert present == listed


def test_every_vendored_library_has_its_licence() -> None:
    for script in VENDOR.glob("*.js"):
        name = re.sub(r"-\d.*", "", script.name)
        assert (VENDOR / f"{name}-LICENSE.txt").is_file(), script.name


def test_no_page_loads_anything_from_elsewhere() -> None:
    for path in (*STATIC.glob("*.js"), *STATIC.glob("*.css"), *(STATIC.parent / "templates").rglob("*.html")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""(src|href|url\(|import|fetch\()\s*=?\s*["']?https?:""", text), path


def test_no_page_is_heavier_than_150_kb_with_all_it_loads(ada: Person) -> None:
    ada.add(55, text="so many pieces of the same sort ")
    for path in (ada.url, f"{ada.url}/write", "/account"):
        page = ada.browser.get(path)
        loaded = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text))
        weight = len(page.data) + sum(len(ada.browser.get(asset).data) for asset in loaded)
        assert weight < 150_000, f"{path}: {weight} bytes"


def test_config_may_be_given_without_an_environment(browser: Browser, ada: Person) -> None:
    app = create_app(AppConfig(), ada.storage)
    assert app.test_client().get("/healthz").status_code == 200
