"""gunicorn's settings and an app for tests of app.connections: few threads, and little patience with silence."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from app import connections
from app.api import server as api
from app.web import server as web

SILENCE_S = 1.0
PIECE = b"x" * (1 << 20)
PIECES = 64  # more than any socket holds unread

assert api.worker_class == web.worker_class
assert api.sendfile is web.sendfile is False
connections.SILENCE_S = SILENCE_S
worker_class = api.worker_class
sendfile = api.sendfile
threads = 2
keepalive = 10
control_socket_disable = True


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """/large: much to read. /slow: pieces, each longer in the making than silence may last. Else the body that came."""
    path = environ["PATH_INFO"]
    if path == "/large":
        start_response("200 OK", [("Content-Length", str(len(PIECE) * PIECES))])
        return (PIECE for _ in range(PIECES))
    if path == "/slow":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return _slowly()
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def _slowly() -> Iterator[bytes]:
    for piece in (b"a", b"b", b"c"):
        time.sleep(2 * SILENCE_S)
        yield piece
