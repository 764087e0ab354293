"""Whether whoever made a request is still there: a look at their connection that takes nothing from it.

The one place for it; both roles ask it while a thread serves a stream or waits for an answer. Knows nothing of HTTP.
"""

import select
import socket
import ssl
from collections.abc import Mapping
from typing import Any


def caller_socket(environ: Mapping[str, Any]) -> socket.socket | None:
    """The caller's connection, where the server shows it and it can be looked at without reading from it."""
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return connection if isinstance(connection, socket.socket) and not isinstance(connection, ssl.SSLSocket) else None


def has_gone(connection: socket.socket | None) -> bool:
    """Whether the other end has closed; False where there is nothing to look at. Never waits."""
    if connection is None:
        return False
    if connection.fileno() < 0:
        return True
    try:
        poller = select.poll()
        poller.register(connection, select.POLLIN)
        return bool(poller.poll(0)) and connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def hung_up(environ: Mapping[str, Any]) -> bool:
    """Whether the caller of this WSGI request has gone."""
    return has_gone(caller_socket(environ))
