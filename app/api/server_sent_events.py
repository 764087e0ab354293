"""text/event-stream answers: framing, pings, and an end once nobody listens any more."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from flask import Response

from app.api.errors import as_api_error
from app.callers import hung_up

PING = ": ping\n\n"
DONE = "data: [DONE]\n\n"
PING_S = 15.0
POLL_S = 1.0
MAX_FOLLOW_S = 600.0


def event(data: str, *, event_id: str | None = None) -> str:
    """One event; `data` is one line of JSON."""
    return (f"id: {event_id}\n" if event_id is not None else "") + f"data: {data}\n\n"


def error_event(error: Exception) -> str:
    """The last event of a stream that broke after its 200 was sent."""
    return event(json.dumps(as_api_error(error).body()))


def event_stream(events: Iterable[str], headers: dict[str, str] | None = None) -> Response:
    """A streamed answer that no proxy on the way should hold back."""
    response = Response(events, mimetype="text/event-stream", headers=headers)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


class Source(Protocol):
    """Something that has new events from time to time."""

    @property
    def ended(self) -> bool:
        """Will there be no more?"""

    def new_events(self) -> list[tuple[str, str]]:
        """(event id, one line of JSON) of those since the last call."""


def follow(
    source: Source, environ: dict[str, Any], stopping: threading.Event, still_welcome: Callable[[], bool]
) -> Iterator[str]:
    """Its events as they come, then [DONE]. Ends without it when the caller goes, is no longer welcome (asked every
    PING_S) or has listened for ten minutes, or the server stops: whoever asks again goes on with Last-Event-ID, or is
    told why not."""
    quiet_since = checked_at = time.monotonic()
    end_at = checked_at + MAX_FOLLOW_S
    try:
        while not (hung_up(environ) or stopping.is_set()) and time.monotonic() < end_at:
            if time.monotonic() - checked_at >= PING_S:
                if not still_welcome():
                    return
                checked_at = time.monotonic()
            ended = source.ended
            for event_id, data in source.new_events():
                yield event(data, event_id=event_id)
                quiet_since = time.monotonic()
            if ended:
                yield DONE
                return
            if time.monotonic() - quiet_since >= PING_S:
                yield PING
                quiet_since = time.monotonic()
            stopping.wait(POLL_S)
    except Exception as broken:
        yield error_event(broken)
