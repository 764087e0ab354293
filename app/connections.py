"""Connections as both roles' servers hold them: each holds a thread while a request is read or an answer sent, and a
caller who then falls silent gives it back after SILENCE_S.

What counts is silence, not how long a whole request takes: who is slow, a stream with its pings, an answer that is long
in the making and a kept-alive connection between two requests are not cut off. Who reads shows it by what their machine
acknowledges, long before there is room to send on: the kernel's buffer is megabytes. Linux only. Knows no HTTP.
"""

import errno
import fcntl
import socket
import struct
import termios
from typing import TYPE_CHECKING, Any, NoReturn

from gunicorn.workers.gthread import ThreadWorker

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

SILENCE_S = 30.0


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
        try:
            return super().recv(bufsize, flags)
        except TimeoutError:
            self._broken()

    def sendall(self, data: "ReadableBuffer", flags: int = 0, /) -> None:
        """Send it piece by piece: Python's own would measure the time of the whole."""
        left = memoryview(data).cast("B")
        while left:
            unread = self._unread()
            try:
                left = left[self.send(left, flags) :]
            except TimeoutError:
                if self._unread() >= unread:
                    self._broken()

    def _unread(self) -> int:
        """Bytes that were sent and that the other side has not acknowledged (tcp(7), SIOCOUTQ). Raises OSError, also
        where another thread has closed this."""
        try:
            return int(struct.unpack("i", fcntl.ioctl(self, termios.TIOCOUTQ, bytes(4)))[0])
        except ValueError as closed:  # no descriptor is left
            raise OSError(errno.EBADF, "the connection was closed") from closed

    def _broken(self) -> NoReturn:
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
