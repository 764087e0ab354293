"""The way from a browser's origin to the API role: /v1/* is relayed as it is, streams included.

Cookies never pass in either direction, so a page cannot act on the API by being signed in; the writing page's requests
carry a short-lived token that this role mints (write.py). A caller that hangs up, even before the answer has begun,
closes the upstream request (hang_ups.py), which frees its row in the batch. Knows nothing of what is asked.
"""

import json
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote

import httpx
import structlog
from flask import Blueprint, Flask, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from app.config import MULTIPART_BYTES, WEB_RELAYS, AppConfig
from app.web.hang_ups import Call, HangUps
from app.web.words import gettext
from storage.training_file import MAX_UPLOAD_BYTES

gateway = Blueprint("gateway", __name__)
log = structlog.get_logger()
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HOP_BY_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
HOP_BY_HOP |= {"te", "trailer", "transfer-encoding", "upgrade"}
KEPT_BACK = HOP_BY_HOP | {"host", "cookie", "set-cookie", "content-length"}
TIMEOUT = httpx.Timeout(10.0, connect=2.0, read=300.0, pool=None)
CONNECTIONS = httpx.Limits(
    max_connections=None, max_keepalive_connections=0
)  # one request each: a caller's own to close
URL_SAFE = "/:@!$&'()*+,;=~"
FILES = "files"  # the one path whose bodies may be larger than the rest


@dataclass(frozen=True)
class Relays:
    """What the relays of one process share."""

    client: httpx.Client
    places: threading.BoundedSemaphore
    hang_ups: HangUps


def install(app: Flask, config: AppConfig) -> None:
    """One client of the API role for this process, closed when the app goes."""
    client = httpx.Client(base_url=config.api_url, timeout=TIMEOUT, limits=CONNECTIONS, trust_env=False)
    weakref.finalize(app, client.close)
    app.extensions["gateway"] = Relays(client, threading.BoundedSemaphore(WEB_RELAYS), HangUps())


@gateway.route("/v1/<path:path>", methods=METHODS, provide_automatic_options=False)
def relay(path: str) -> ResponseReturnValue:
    """Pass the request on as it came, and the answer back as it comes."""
    if path == FILES and request.method == "POST" and "Authorization" in request.headers:
        request.max_content_length = MAX_UPLOAD_BYTES + MULTIPART_BYTES
    query = request.query_string.decode("ascii", errors="replace")
    url = f"/v1/{quote(path, safe=URL_SAFE)}" + (f"?{query}" if query else "")
    return forward(request.method, url, passed_on(request.headers.items()))


def forward(method: str, url: str, headers: dict[str, str], content: bytes | None = None) -> Response:
    """Send to the API role and stream its answer. 503 when it is not there or too many wait, 502 when it breaks off.
    Without `content` the present request's own is sent. It is read before a place is taken: a caller who sends half of
    it keeps nobody from the API."""
    content = request.get_data(cache=False) if content is None else content
    relays = cast(Relays, current_app.extensions["gateway"])
    if not relays.places.acquire(blocking=False):
        return refusal(
            503, gettext("Too many requests are under way just now. Try again in a few seconds."), retry_after="2"
        )
    with ExitStack() as held:
        held.callback(relays.places.release)
        call = held.enter_context(relays.hang_ups.watching(request.environ))
        answer = send(relays.client, call, method, url, headers, content)
        if isinstance(answer, Response):
            return answer
        held.callback(answer.close)
        response = answered(answer, call)
        response.call_on_close(held.pop_all().close)
        return response


def send(
    client: httpx.Client, call: Call, method: str, url: str, headers: dict[str, str], content: bytes
) -> httpx.Response | Response:
    """The API role's answer as soon as it has begun, or a refusal that says why there is none."""
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]  # as WSGI read them
    fields = [(b"accept-encoding", b"identity"), *(field for field in fields if field[0] != b"accept-encoding")]
    try:
        outgoing = client.build_request(method, url, headers=fields, content=content, extensions={"trace": call.trace})
        return client.send(outgoing, stream=True)
    except (httpx.InvalidURL, httpx.LocalProtocolError):
        return refusal(
            400, gettext("This request can't be passed on: its address or one of its headers is not valid HTTP.")
        )
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return refusal(503, gettext("The API is not answering just now. Try again in a few seconds."), retry_after="2")
    except httpx.TransportError:
        return refusal(502, gettext("The API broke off before it answered. Try again."))


def answered(answer: httpx.Response, call: Call) -> Response:
    """The API role's answer as this role gives it."""
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers.raw]
    broken = gettext("The API broke off in the middle of the answer. Try again.")  # a stream has no request any more
    response = Response(body(answer, call, broken), status=answer.status_code, headers=passed_on(fields))
    if "content-length" in answer.headers:
        response.headers["Content-Length"] = answer.headers["content-length"]
    return response


def body(answer: httpx.Response, call: Call, broken: str) -> Iterator[bytes]:
    """The answer's bytes as they arrive. A stream that breaks off ends in an event that says `broken`."""
    try:
        yield from answer.iter_raw()
    except httpx.TransportError:
        if call.caller_left:
            return
        log.warning("the API role broke off in the middle of an answer", status=answer.status_code)
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            raise
        yield f"data: {json.dumps(error_object(broken, 'server_error'))}\n\n".encode()


def passed_on(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What may cross: all but cookies, lengths and what belongs to one connection only. Repeated headers are joined."""
    given = [(name.lower(), value) for name, value in headers]
    named = {token.strip().lower() for name, value in given if name == "connection" for token in value.split(",")}
    kept: dict[str, str] = {}
    for name, value in given:
        if name not in KEPT_BACK and name not in named:
            kept[name] = f"{kept[name]}, {value}" if name in kept else value
    return kept


def asked_by_program() -> bool:
    """Whether no page is to answer: under /v1, and what the writing page's script asks, by its path or by the header
    that no form without a script sends."""
    return request.path.startswith(("/v1/", "/write/")) or "X-CSRFToken" in request.headers


def refusal(status: int, message: str, *, retry_after: str | None = None, code: str | None = None) -> Response:
    """An error of the gateway's own, in OpenAI's shape."""
    answer = jsonify(error_object(message, "server_error" if status >= 500 else "invalid_request_error", code))
    answer.status_code = status
    if retry_after:
        answer.headers["Retry-After"] = retry_after
    return answer


def error_object(message: str, kind: str, code: str | None = None) -> dict[str, object]:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
