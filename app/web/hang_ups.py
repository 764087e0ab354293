"""Notices callers who hang up while their request is relayed, and closes its upstream connection for them.

The thread that relays sits in a read of the upstream socket and can't look at the caller's; one thread of this process
looks at all of them instead, and lives only while something is relayed. Knows nothing of HTTP.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from app.callers import caller_socket, has_gone

LOOK_EVERY_S = 1.0
CONNECTED = ("connection.connect_tcp.complete", "connection.start_tls.complete")


class Call:
    """One relayed request: the caller's socket (None where the server doesn't show it) and the upstream one."""

    def __init__(self, caller: socket.socket | None) -> None:
        self.caller = caller
        self.upstream: socket.socket | None = None
        self.caller_left = False

    def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """For httpx's `trace` extension: remembers the socket of a connection made for this request."""
        if name in CONNECTED:
            self.upstream = info["return_value"].get_extra_info("socket")

    def look(self) -> None:
        """Shut the upstream connection if the caller has gone; whoever reads from it then sees its end."""
        self.caller_left = self.caller_left or has_gone(self.caller)
        if self.caller_left and self.upstream is not None:
            with contextlib.suppress(OSError):  # over already
                socket.socket.shutdown(self.upstream, socket.SHUT_RDWR)


class HangUps:
    """The calls of one process that are looked at every LOOK_EVERY_S. Safe to share between threads."""

    def __init__(self) -> None:
        self._calls: set[Call] = set()
        self._changed = threading.Condition()
        self._looking = False

    @contextmanager
    def watching(self, environ: Mapping[str, Any]) -> Iterator[Call]:
        """Watch the caller of this WSGI request until the block is left."""
        call = Call(caller_socket(environ))
        with self._changed:
            self._calls.add(call)
            if not self._looking:
                self._looking = True
                threading.Thread(target=self._look, name="hang-ups", daemon=True).start()
        try:
            yield call
        finally:
            with self._changed:  # nobody looks at its sockets once this is left
                self._calls.discard(call)
                self._changed.notify()

    def _look(self) -> None:
        with self._changed:
            while self._calls:
                if not self._changed.wait_for(lambda: not self._calls, LOOK_EVERY_S):
                    for call in self._calls:
                        call.look()
            self._looking = False
