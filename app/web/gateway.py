"""The way from a browser's origin to the API role: /v1/* is relayed as it is, streams included.

Cookies never pass in either direction, so a page cannot act on the API by being signed in; the writing page's requests
carry a short-lived token that this role mints (write.py). A caller that hangs up closes the upstream request, which
frees its row in the batch. Knows nothing of what is asked.
"""

import json
import weakref
from collections.abc import Iterable, Iterator
from typing import cast
from urllib.parse import quote

import httpx
import structlog
from flask import Blueprint, Flask, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from app.config import AppConfig

gateway = Blueprint("gateway", __name__)
log = structlog.get_logger()
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HOP_BY_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
HOP_BY_HOP |= {"te", "trailer", "transfer-encoding", "upgrade"}
KEPT_BACK = HOP_BY_HOP | {"host", "cookie", "set-cookie", "content-length"}
TIMEOUT = httpx.Timeout(10.0, connect=2.0, read=300.0, pool=None)
MOST_CONNECTIONS = httpx.Limits(max_connections=None, max_keepalive_connections=32)
URL_SAFE = "/:@!$&'()*+,;=~"


def install(app: Flask, config: AppConfig) -> None:
    """One connection pool to the API role for this process, closed when the app goes."""
    client = httpx.Client(base_url=config.api_url, timeout=TIMEOUT, limits=MOST_CONNECTIONS, trust_env=False)
    weakref.finalize(app, client.close)
    app.extensions["gateway"] = client


@gateway.route("/v1/<path:path>", methods=METHODS, provide_automatic_options=False)
def relay(path: str) -> ResponseReturnValue:
    """Pass the request on as it came, and the answer back as it comes."""
    query = request.query_string.decode("ascii", errors="replace")
    url = f"/v1/{quote(path, safe=URL_SAFE)}" + (f"?{query}" if query else "")
    return forward(request.method, url, passed_on(request.headers.items()), request.get_data(cache=False))


def forward(method: str, url: str, headers: dict[str, str], content: bytes) -> ResponseReturnValue:
    """Send to the API role and stream its answer. 503 when it is not there, 502 when it breaks off."""
    client = cast(httpx.Client, current_app.extensions["gateway"])
    outgoing = client.build_request(method, url, headers={"accept-encoding": "identity"} | headers, content=content)
    try:
        answer = client.send(outgoing, stream=True)
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return refusal(503, "The API is not answering just now. Try again in a few seconds.", retry_after="2")
    except httpx.TransportError:
        return refusal(502, "The API broke off before it answered. Try again.")
    response = Response(body(answer), status=answer.status_code, headers=passed_on(answer.headers.multi_items()))
    if "content-length" in answer.headers:
        response.headers["Content-Length"] = answer.headers["content-length"]
    response.call_on_close(answer.close)
    return response


def body(answer: httpx.Response) -> Iterator[bytes]:
    """The answer's bytes as they arrive. A stream that breaks off says so in its last event."""
    try:
        yield from answer.iter_raw()
    except httpx.TransportError:
        log.warning("the API role broke off in the middle of an answer", status=answer.status_code)
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            raise
        broken = error_object("The API broke off in the middle of the answer. Try again.", "server_error")
        yield f"data: {json.dumps(broken)}\n\n".encode()


def passed_on(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What may cross: all but cookies, lengths and what belongs to one connection only. Repeated headers are joined."""
    given = [(name.lower(), value) for name, value in headers]
    named = {token.strip().lower() for name, value in given if name == "connection" for token in value.split(",")}
    kept: dict[str, str] = {}
    for name, value in given:
        if name not in KEPT_BACK and name not in named:
            kept[name] = f"{kept[name]}, {value}" if name in kept else value
    return kept


def refusal(status: int, message: str, *, retry_after: str | None = None) -> Response:
    """An error of the gateway's own, in OpenAI's shape."""
    answer = jsonify(error_object(message, "server_error" if status >= 500 else "invalid_request_error"))
    answer.status_code = status
    if retry_after:
        answer.headers["Retry-After"] = retry_after
    return answer


def error_object(message: str, kind: str) -> dict[str, object]:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}
