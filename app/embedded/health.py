"""Asks a part whether it is up, without ever waiting: for a Redis-protocol server, and for a role over HTTP."""

import select
import socket
from pathlib import Path

import redis

_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
_STATUS_BYTES = 64


def redis_answers(path: Path) -> bool:
    """Does the server behind this unix socket answer a PING?"""
    with redis.Redis(unix_socket_path=str(path), socket_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


class HealthRequest:
    """GET /healthz of the role behind a listening socket.

    The supervisor listens before the role is up, so a request waits in the socket's queue until the role takes it: one
    is sent and looked at again and again, and only sent anew when it was answered or dropped.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._address = listener.getsockname()
        self._sent: socket.socket | None = None

    def __call__(self) -> bool:
        """True once an answer with status 200 has come."""
        try:
            if self._sent is None:
                self._sent = socket.create_connection(self._address, timeout=1)
                self._sent.sendall(_REQUEST)
            if not select.select([self._sent], [], [], 0)[0]:
                return False
            status = self._sent.recv(_STATUS_BYTES)
        except OSError:
            status = b""
        self.drop()
        return status.startswith(b"HTTP/1.1 200 ")

    def drop(self) -> None:
        """Let go of the request in hand."""
        if self._sent is not None:
            self._sent.close()
            self._sent = None
