"""Connections as both roles' servers hold them: each holds a thread while a request is read or an answer sent, and a
caller who then falls silent gives it back after SILENCE_S.

What counts is the silence of one reading or sending, not how long a whole request takes: who is slow, a stream with
its pings, an answer that is long in the making and a kept-alive connection between two requests are not cut off. Knows
nothing of HTTP.
"""

import errno
import socket
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, TypeVar

from gunicorn.workers.gthread import ThreadWorker

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

SILENCE_S = 30.0
R = TypeVar("R")


class Connection(socket.socket):
    """A caller's. Where gunicorn would wait for as long as it takes, it waits SILENCE_S and then counts as broken."""

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(fileno=accepted.detach())
        self.fell_silent = False

    def setblocking(self, flag: bool, /) -> None:
        """Wait or don't. Closed already, there is nothing to wait for."""
        if self.fileno() >= 0:
            self.settimeout(SILENCE_S if flag else 0.0)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """What was sent next."""
        return self._heard(lambda: super(Connection, self).recv(bufsize, flags))

    def sendall(self, data: "ReadableBuffer", flags: int = 0, /) -> None:
        """Send it piece by piece: Python's own would measure the time of the whole."""
        left = memoryview(data).cast("B")
        while left:
            left = left[self._heard(lambda left=left: self.send(left, flags)) :]  # type: ignore[misc]  # a lambda

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:  # type: ignore[override]
        """A file's bytes; Python's own measures the time of each piece."""
        return self._heard(lambda: super(Connection, self).sendfile(file, offset, count))

    def _heard(self, call: Callable[[], R]) -> R:
        try:
            return call()
        except TimeoutError:
            self.fell_silent = True
            raise ConnectionResetError(errno.ECONNRESET, "the caller fell silent") from None


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn publishes no types
    """gunicorn's worker of threads, whose connections are ours."""

    def enqueue_req(self, conn: Any) -> None:
        """Have a thread look at a connection that was accepted or has something to say."""
        if type(conn.sock) is socket.socket:
            conn.sock = Connection(conn.sock)
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Answer one request. A connection that is over is closed here, which waits up to two seconds for the caller to
        close it too: gunicorn would wait in the one loop that takes in everybody's."""
        goes_on = super().handle(conn)
        if not goes_on and isinstance(conn.sock, Connection):
            conn.close(graceful=not conn.sock.fell_silent)
        return goes_on
