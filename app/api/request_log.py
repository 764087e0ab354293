"""One JSON line on stdout for each request, and one for each failure.

Holds routes, statuses, times and ids; never a body, a query, an address, a key or an exception's message (which may
quote any of them).
"""

import re
import sys
import time
import traceback
from typing import Any, TextIO, cast

import structlog
from flask import Flask, Response, g, has_request_context, request

from storage.ids import new_id


class _Stdout:
    """Whatever stdout is when a line is written (it may be replaced after this module was imported)."""

    def write(self, line: str) -> None:
        sys.stdout.write(line)

    def flush(self) -> None:
        sys.stdout.flush()


_log = structlog.wrap_logger(
    structlog.WriteLogger(cast("TextIO", _Stdout())),
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(),
    ],
)


def note(**fields: str | float | None) -> None:
    """Add fields to this request's line."""
    g.logged.update(fields)


def log_failure(error: BaseException) -> None:
    """Where an unforeseen error arose: its class and the code lines it passed, not what it says."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    request_id = g.get("request_id") if has_request_context() else None
    _log.error("failure", error=type(error).__name__, frames=frames[-8:], request_id=request_id)


def register_request_log(app: Flask) -> None:
    """Give every request an id (x-request-id on its answer) and a line in the log once its answer has ended."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.request_id = new_id("req")
    g.began = time.monotonic()
    g.logged = {}


def _end(response: Response) -> Response:
    response.headers["x-request-id"] = g.request_id
    line: dict[str, Any] = {
        "request_id": g.request_id,
        "method": request.method if re.fullmatch("[A-Z]{1,10}", request.method) else "?",
        "route": request.url_rule.rule if request.url_rule else None,
        "status": response.status_code,
    }
    logged, began = g.logged, g.began

    def write() -> None:
        _log.info("request", **line, **logged, ms=round((time.monotonic() - began) * 1000, 1))

    response.call_on_close(write)
    return response
