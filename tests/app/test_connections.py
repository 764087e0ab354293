"""gunicorn as both roles run it, with less patience, and callers who fall silent."""

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from app.connections import Connection
from tests.app.short_patience import PIECE, PIECES, SILENCE_S, threads
from tests.source_tree import ROOT

PATIENCE_S = 60
SILENT = 4 * threads
HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n"
SETTINGS = ("-c", "python:tests.app.short_patience", "--log-level", "info")


@pytest.fixture
def server() -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """A port that listens, and who listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listener.set_inheritable(True)
        bind = ("--bind", f"fd://{listener.fileno()}")
        process = subprocess.Popen(
            (sys.executable, "-m", "gunicorn", *SETTINGS, *bind, "tests.app.short_patience:application"),
            cwd=ROOT,
            pass_fds=[listener.fileno()],
            text=True,
            stderr=subprocess.PIPE,
        )
        yield port, process
        process.kill()
        process.communicate()


def asked(port: int, path: str = "/", body: bytes = b"hello") -> bytes:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        connection.request("POST", path, body)
        return connection.getresponse().read()


@pytest.mark.parametrize(
    "sent",
    [HEAD, HEAD + b"\r\n{", b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n"],
    ids=["half a head", "half a body", "an answer nobody reads"],
)
def test_who_falls_silent_gives_the_thread_back(server: tuple[int, "subprocess.Popen[str]"], sent: bytes) -> None:
    port, process = server
    assert asked(port) == b"hello"
    with ExitStack() as held:
        for _ in range(SILENT):
            held.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(sent)
        assert asked(port) == b"hello"
    process.terminate()
    _, told = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in told


def test_who_is_slow_and_who_waits_are_not_cut_off(server: tuple[int, "subprocess.Popen[str]"]) -> None:
    port, _ = server
    assert asked(port, "/slow") == b"abc"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        connection.connect()
        taken = connection.sock
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, len(PIECE))
        connection.request("GET", "/large")
        answer, read = connection.getresponse(), 0
        for _ in range(12):  # for longer than silence may last there is no room to send on
            read += len(answer.read(len(PIECE) // 4))
            time.sleep(SILENCE_S / 4)
        assert read + len(answer.read()) == len(PIECE) * PIECES
        time.sleep(2 * SILENCE_S)
        connection.request("POST", "/", b"again")
        assert connection.getresponse().read() == b"again"
        assert connection.sock is taken, "the connection was kept alive"


def test_sending_on_a_connection_that_another_thread_closed_is_an_error_of_the_system() -> None:
    """As any socket's: gunicorn knows no other."""
    here, there = socket.socketpair()
    with closing(there):
        connection = Connection(here)
        connection.close()
        with pytest.raises(OSError, match="closed"):
            connection.sendall(b"too late")
