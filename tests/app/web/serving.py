"""A WSGI app on a real socket, in a thread of the test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class Quiet(WSGIRequestHandler):
    """Says nothing on stderr, and leaves no file open when a browser goes in the middle of one."""

    def make_environ(self) -> "WSGIEnvironment":
        """With files that are read at once."""
        return {**super().make_environ(), "wsgi.file_wrapper": _at_once}

    def log_request(self, *_: object) -> None:
        """Keep the test's output clean."""


def _at_once(file: IO[bytes], _: int = 0) -> list[bytes]:
    with file:
        return [file.read()]


@contextmanager
def listening(app: Flask) -> Iterator[str]:
    """Serve until the block is left; yields the URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    server.daemon_threads = True  # type: ignore[attr-defined]
    server.block_on_close = False  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
