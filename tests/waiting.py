"""What a call waits for, seen without a clock: the calls on sockets that failed and the time-out each had, and how the
transactions began."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import pytest
from sqlalchemy import event

from storage.database import Database

SOCKET_CALLS = ("connect", "sendall", "recv", "recv_into")
READS = "BEGIN DEFERRED"  # on SQLite: waits for no writer, as "BEGIN IMMEDIATE" does


@dataclass(frozen=True)
class Failed:
    """A call on a socket: its error, and how long it might have taken at most (None: for ever)."""

    error: type[OSError]
    time_out_s: float | None


@contextmanager
def failed_calls() -> Iterator[list[Failed]]:
    """Those of this thread until the block is left, in their order: what was tried in vain and what it could cost."""
    failed: list[Failed] = []
    here = threading.get_ident()

    def noting(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def noted(self: socket.socket, *args: Any) -> Any:
            try:
                return call(self, *args)
            except BlockingIOError:  # a look at what has arrived, which never waits
                raise
            except OSError as error:
                if threading.get_ident() == here:
                    failed.append(Failed(type(error), self.gettimeout()))
                raise

        return noted

    with pytest.MonkeyPatch.context() as patch:
        for name in SOCKET_CALLS:
            patch.setattr(socket.socket, name, noting(getattr(socket.socket, name)))
        yield failed


@contextmanager
def transactions(database: Database) -> Iterator[list[str]]:
    """How each one began, until the block is left."""
    begun: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("BEGIN"):
            begun.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield begun
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
