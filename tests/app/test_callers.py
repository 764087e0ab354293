"""Whether a caller has gone, seen on real connections."""

import socket
import struct

import pytest

from app.callers import caller_socket, has_gone, hung_up


@pytest.mark.parametrize("server", ["gunicorn", "werkzeug"])
def test_a_caller_is_there_until_they_close_and_nothing_is_taken_from_them(server: str) -> None:
    here, there = socket.socketpair()
    environ = {f"{server}.socket": here}
    with here:
        with there:
            assert not hung_up(environ)
            there.sendall(b"more")
            assert not hung_up(environ)
            assert here.recv(4) == b"more"
        assert hung_up(environ)
    assert hung_up(environ)  # closed on this side


def test_a_connection_that_was_broken_off_has_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = socket.create_connection(server.getsockname())
        here, _ = server.accept()
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        there.close()  # with a reset
        with here:
            assert has_gone(here)


def test_where_there_is_nothing_to_look_at_nobody_has_gone() -> None:
    assert caller_socket({}) is None
    assert not hung_up({})
    assert not hung_up({"gunicorn.socket": "no socket"})
