import json
import socket
import threading
import time

import httpx
import openai
import pytest
from flask import Flask

from app.config import AppConfig
from app.web import gateway, hang_ups
from app.web.factory import create_app
from storage.store import Storage
from tests.app.web.browser import Browser
from tests.app.web.serving import listening
from tests.app.web.upstream import PATIENCE_S, PIECES, Upstream


@pytest.fixture
def web(storage: Storage, upstream: Upstream) -> Flask:
    return create_app(AppConfig(api_url=upstream.url), storage)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_is_passed_on_with_body_and_query(web: Flask, upstream: Upstream, method: str) -> None:
    answer = web.test_client().open("/v1/voices/a%20b?after=x&limit=2", method=method, data=b"\x00raw")
    assert answer.status_code == 418
    assert answer.json == {"path": "/v1/voices/a%20b?after=x&limit=2"}
    assert (upstream.seen[0].method, upstream.seen[0].body) == (method, b"\x00raw")


def test_a_training_file_passes_though_it_is_larger_than_other_bodies(web: Flask, upstream: Upstream) -> None:
    files = {"file": ("mine.jsonl", b" " * (6 << 20))}
    sent = httpx.Request("POST", "http://test", data={"purpose": "fine-tune"}, files=files)
    given = {"data": sent.read(), "content_type": sent.headers["Content-Type"]}
    assert web.test_client().open("/v1/files", method="POST", **given).status_code == 413, "without a key"
    given["headers"] = {"Authorization": "Bearer idl-anything"}
    assert web.test_client().open("/v1/files", method="POST", **given).status_code == 418
    assert upstream.seen[0].body == sent.content
    assert web.test_client().open("/v1/voices", method="POST", **given).status_code == 413


def test_head_is_answered_without_a_body(web: Flask, upstream: Upstream) -> None:
    assert web.test_client().head("/v1/models").status_code == 418
    assert upstream.seen[0].method == "HEAD"


def test_keys_pass_and_cookies_do_not_in_either_direction(web: Flask, upstream: Upstream) -> None:
    client = web.test_client()
    client.set_cookie("idiolect_session", "secret-session")
    answer = client.get("/v1/models", headers={"Authorization": "Bearer idl-key", "X-Own": "kept"})
    sent = upstream.seen[0].headers
    assert sent["authorization"] == "Bearer idl-key"
    assert sent["x-own"] == "kept"
    assert "cookie" not in sent
    assert "stolen" not in str(answer.headers)
    assert answer.headers["x-request-id"] == "req-1"


def test_what_belongs_to_one_connection_is_not_passed_on(web: Flask, upstream: Upstream) -> None:
    headers = {"Connection": "x-mine, close", "X-Mine": "1", "TE": "trailers", "Host": "idiolect.example"}
    answer = web.test_client().get("/v1/models", headers=headers)
    sent = upstream.seen[0].headers
    assert "x-mine" not in sent
    assert "te" not in sent
    assert sent["host"].startswith("127.0.0.1")
    assert "x-only-here" not in answer.headers


def test_a_signed_in_page_is_nobody_to_the_api(web: Flask, upstream: Upstream) -> None:
    browser = Browser.of(web)
    browser.post("/signup", {"email": "ada@example.org", "password": "plum jam on toast"})
    browser.get("/v1/models")
    assert "authorization" not in upstream.seen[-1].headers
    assert "cookie" not in upstream.seen[-1].headers


def test_a_post_needs_no_form_token_because_it_carries_no_cookie(web: Flask) -> None:
    assert web.test_client().post("/v1/completions", json={}).status_code == 418


def test_a_stream_arrives_piece_by_piece(web: Flask, upstream: Upstream) -> None:
    upstream.read = threading.Semaphore(0)
    arrived = []
    with (
        listening(web) as url,
        httpx.stream("POST", f"{url}/v1/completions", content=b'{"stream": true}', timeout=PATIENCE_S) as answer,
    ):
        for line in filter(None, answer.iter_lines()):
            arrived.append(line)
            upstream.read.release()
    *texts, done = arrived
    assert tuple(json.loads(text[6:])["choices"][0]["text"] for text in texts) == PIECES
    assert done == "data: [DONE]"


def test_the_official_client_streams_through_the_gateway(web: Flask) -> None:
    with listening(web) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="idl-x", max_retries=0) as client:
        stream = client.completions.create(model="voice-1", prompt="Dear", stream=True)
        assert tuple(chunk.choices[0].text for chunk in stream) == PIECES


def test_a_caller_that_hangs_up_closes_the_upstream_request(web: Flask, upstream: Upstream) -> None:
    with listening(web) as url:
        with httpx.stream("GET", f"{url}/v1/forever") as answer:
            next(answer.iter_bytes())
        assert upstream.hung_up.wait(5)


def ask_and_leave_waiting(url: str, path: str, upstream: Upstream) -> socket.socket:
    """A caller whose request has reached the API role and has no answer yet."""
    seen = len(upstream.seen)
    caller = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])))
    caller.sendall(f"GET {path} HTTP/1.1\r\nHost: idiolect\r\n\r\n".encode())
    deadline = time.monotonic() + 5
    while len(upstream.seen) == seen and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(upstream.seen) == seen + 1
    return caller


@pytest.mark.parametrize("path", ["/v1/slow", "/v1/slow/stream"])
def test_a_caller_that_hangs_up_before_any_answer_closes_the_upstream_request(
    web: Flask, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(hang_ups, "LOOK_EVERY_S", 0.05)
    with listening(web) as url:
        caller = ask_and_leave_waiting(url, path, upstream)
        assert not upstream.hung_up.wait(0.3)
        caller.close()
        assert upstream.hung_up.wait(5)


def test_beyond_the_most_relays_at_once_callers_are_sent_away_and_pages_are_not(
    storage: Storage, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hang_ups, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(gateway, "WEB_RELAYS", 1)
    with listening(create_app(AppConfig(api_url=upstream.url), storage)) as url:
        caller = ask_and_leave_waiting(url, "/v1/slow", upstream)
        refused = httpx.get(f"{url}/v1/models")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        assert refused.json()["error"]["type"] == "server_error"
        assert httpx.get(f"{url}/healthz").status_code == 200
        caller.close()
        assert upstream.hung_up.wait(5)
        deadline = time.monotonic() + 5
        while (again := httpx.get(f"{url}/v1/models").status_code) == 503 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert again == 418


def test_whoever_sends_half_a_request_holds_no_place(
    storage: Storage, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "WEB_RELAYS", 1)
    reading = threading.Event()
    app = create_app(AppConfig(api_url=upstream.url), storage)
    app.before_request(reading.set)
    with listening(app) as url:
        address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        with socket.create_connection(address) as caller:
            caller.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: idiolect\r\nContent-Length: 100\r\n\r\n{")
            assert reading.wait(PATIENCE_S)
            for _ in range(20):  # the other may not have come as far as where places are taken
                assert httpx.get(f"{url}/v1/models").status_code == 418


def test_places_come_back_whatever_came_of_the_request(
    storage: Storage, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "WEB_RELAYS", 1)
    client = create_app(AppConfig(api_url=upstream.url), storage).test_client()
    for path, status in (("/v1/breaks", 502), ("/v1/models?" + "x" * 70_000, 400), ("/v1/models", 418)):
        assert client.get(path, buffered=True).status_code == status
    assert client.head("/v1/models", buffered=True).status_code == 418
    assert client.get("/v1/models", buffered=True).status_code == 418


def test_headers_that_are_not_ascii_pass_as_the_bytes_they_are(web: Flask, upstream: Upstream) -> None:
    with listening(web) as url:
        answer = httpx.get(f"{url}/v1/models", headers=[(b"user-agent", "Zoë".encode("latin-1"))])
    assert answer.status_code == 418
    assert upstream.seen[0].headers["user-agent"] == "Zoë"


def test_an_address_that_cant_be_passed_on_is_a_400(web: Flask) -> None:
    answer = web.test_client().get("/v1/models?" + "x" * 70_000)
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["error"]["type"] == "invalid_request_error"


def test_an_api_that_is_down_is_said_in_openais_shape(storage: Storage) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nothing answers there
        web = create_app(AppConfig(api_url=f"http://127.0.0.1:{taken.getsockname()[1]}"), storage)
        answer = web.test_client().get("/v1/models")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert answer.json is not None
    assert answer.json["error"]["type"] == "server_error"
    assert "not answering" in answer.json["error"]["message"]


def test_an_api_that_breaks_off_before_answering_is_a_502(web: Flask) -> None:
    answer = web.test_client().get("/v1/breaks")
    assert answer.status_code == 502
    assert answer.json is not None
    assert answer.json["error"]["code"] is None


def test_a_stream_that_breaks_off_ends_with_an_error_event(web: Flask) -> None:
    lines = web.test_client().get("/v1/breaks/stream").text.strip().split("\n\n")
    assert "half a " in lines[0]
    assert "broke off" in json.loads(lines[-1][6:])["error"]["message"]


def test_a_body_too_large_is_refused_in_openais_shape(web: Flask, upstream: Upstream) -> None:
    answer = web.test_client().post("/v1/completions", data=b"x" * (4 * 1024 * 1024 + 1))
    assert answer.status_code == 413
    assert answer.json is not None
    assert "4 MiB" in answer.json["error"]["message"]
    assert upstream.seen == []


def test_nothing_outside_v1_is_passed_on(web: Flask, upstream: Upstream) -> None:
    assert web.test_client().get("/healthz").json == {"status": "ok"}
    assert web.test_client().get("/v1").status_code == 404
    assert upstream.seen == []
