"""A small real HTTP server in the API role's place. It remembers what it was sent and streams when asked to."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PIECES = ("Dear ", "all, ", "hello.")
GAP_S = 0.05
PATIENCE_S = 60.0


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Upstream:
    """Where it listens, what it saw, and whether a stream's reader went away."""

    url: str
    seen: list[Seen] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)
    pieces: tuple[str, ...] = PIECES
    endless: bool = False  # every answer goes on until its reader leaves
    breaks: bool = False  # every stream breaks off after its first piece
    read: threading.Semaphore | None = None  # where set, a stream's reader releases it to be sent the next piece


def version_of(asked: dict[str, Any]) -> str | None:
    """Which version of a voice answers; None: the base model."""
    return None if asked.get("model", "").endswith("-base") else "3"


@contextmanager
def serve() -> Iterator[Upstream]:
    """Serve until the block is left."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.upstream = Upstream(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.upstream  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    """Answers every method on every path."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        upstream: Upstream = self.server.upstream  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        upstream.seen.append(Seen(self.command, self.path, headers, body))
        if upstream.endless or self.path.startswith("/v1/forever"):
            self.stream_until_gone(upstream)
        elif self.path.startswith("/v1/slow"):
            self.think_until_gone(upstream)
        elif self.path.startswith("/v1/breaks"):
            self.break_off()
        elif b'"stream":true' in body.replace(b" ", b""):
            self.stream(upstream, json.loads(body))
        elif b'"stream":false' in body.replace(b" ", b""):
            self.at_once(upstream, json.loads(body))
        else:
            self.whole()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815

    def whole(self) -> None:
        content = b"" if self.command == "HEAD" else json.dumps({"path": self.path}).encode()
        self.send_response(418)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("x-request-id", "req-1")
        self.send_header("Set-Cookie", "stolen=1")
        self.send_header("Connection", "x-only-here")
        self.send_header("X-Only-Here", "1")
        self.end_headers()
        self.wfile.write(content)

    def at_once(self, upstream: Upstream, asked: dict[str, Any]) -> None:
        said = {"choices": [{"index": index, "text": "".join(upstream.pieces)} for index in range(asked.get("n", 1))]}
        content = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if version := version_of(asked):
            self.send_header("x-idiolect-version", version)
            self.send_header("x-idiolect-strength", str(asked.get("voice_strength", 1)))
        self.end_headers()
        self.wfile.write(content)

    def begin_stream(self, version: str | None = "3") -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        if version:
            self.send_header("x-idiolect-version", version)
        self.end_headers()

    def chunk(self, data: dict[str, Any]) -> None:
        line = f"data: {json.dumps(data)}\n\n".encode()
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()

    def stream(self, upstream: Upstream, asked: dict[str, Any]) -> None:
        self.begin_stream(version=version_of(asked))
        for piece in upstream.pieces:
            for index in range(asked.get("n", 1)):
                self.chunk({"choices": [{"index": index, "text": piece}]})
            if upstream.breaks:
                self.close_connection = True
                return
            if upstream.read is None:
                time.sleep(GAP_S)
            elif not upstream.read.acquire(timeout=PATIENCE_S):
                self.close_connection = True
                return
        self.wfile.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    def stream_until_gone(self, upstream: Upstream) -> None:
        self.begin_stream()
        try:
            for _ in range(1000):
                self.chunk({"choices": [{"text": "on and on "}]})
                time.sleep(0.01)
        except OSError:
            upstream.hung_up.set()
            self.close_connection = True

    def think_until_gone(self, upstream: Upstream) -> None:
        """Not a word of an answer, or of a stream's body, while the reader waits."""
        if "stream" in self.path:
            self.begin_stream()
        self.connection.settimeout(10)
        if self.connection.recv(1) == b"":
            upstream.hung_up.set()
        self.close_connection = True

    def break_off(self) -> None:
        if "stream" in self.path:
            self.begin_stream()
            self.chunk({"choices": [{"text": "half a "}]})
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing on stderr."""
