"""A wire between a browser and a server that a test can cut and mend: what losing the connection is to a page."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


class Wire:
    """Passes bytes on both ways between whoever connects to `url` and the server at `to`."""

    def __init__(self, to: str) -> None:
        self._there = (urlsplit(to).hostname or "", urlsplit(to).port or 80)
        self._door = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._whole = True
        self._turn = threading.Lock()  # so that no connection slips through while the wire is cut
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection, and each new one at once."""
        with self._turn:
            self._whole = False
            for end in list(self._open):
                _hang_up(end)

    def mend(self) -> None:
        """Let new connections through again."""
        self._whole = True

    def close(self) -> None:
        """Cut for good."""
        self.cut()
        self._door.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the door is closed
            while True:
                here, _ = self._door.accept()
                with self._turn:
                    if not self._whole:
                        _hang_up(here)
                        continue
                    there = socket.create_connection(self._there)
                    self._open |= {here, there}
                for source, target in ((here, there), (there, here)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):  # either end hung up
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            _hang_up(end)
            self._open.discard(end)


@contextmanager
def wired(to: str) -> Iterator[Wire]:
    """A wire for as long as the block lasts."""
    wire = Wire(to)
    yield wire
    wire.close()


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it was over already
        end.shutdown(socket.SHUT_RDWR)
    end.close()
