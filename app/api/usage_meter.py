"""Counts what each request used and how long it took, and writes the counts down every few seconds: a write for each
request would make every other writer wait on SQLite. A process that is killed loses what it counted since; nothing is
billed by it.

Holds ids and numbers. Knows nothing of what was asked.
"""

import threading
import time
from dataclasses import dataclass, field

from flask import Flask, Response, g
from sqlalchemy.exc import SQLAlchemyError

from app.api.request_log import log_failure
from app.auth import Caller
from storage import latency, usage
from storage.database import Database
from storage.usage import Counts, Place

FLUSH_EVERY_S = 5.0


@dataclass
class Tally:
    """What one request has used so far. model: that wrote the answer; empty while nothing was written."""

    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    began: float = field(default_factory=time.monotonic)
    took: latency.Place | None = None  # to the first token, or where there is none, to the answer; None: not counted

    def speaks(self) -> None:
        """A token is there."""
        if self.took is None:
            self.took = latency.place_of("text", time.monotonic() - self.began)

    def answered(self) -> None:
        """The whole answer is there, and there is no text in it."""
        if self.took is None:
            self.took = latency.place_of("other", time.monotonic() - self.began)


class UsageMeter:
    """The counts of this process that are not in the database yet. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: dict[Place, Counts] = {}
        self._took: dict[latency.Place, int] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def count(self, caller: Caller, tally: Tally) -> None:
        """Count one request that has ended."""
        key_id = caller.credential if caller.kind == "key" else usage.PAGES
        place = Place(caller.user_id, usage.today(), key_id, tally.model)
        with self._lock:
            used = Counts(1, tally.prompt_tokens, tally.completion_tokens)
            self._counted[place] = self._counted.get(place, Counts()) + used
            if tally.took is not None:
                self._took[tally.took] = self._took.get(tally.took, 0) + 1
            if self._timer is None:
                self._timer = threading.Timer(FLUSH_EVERY_S, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def uncounted(self, user_id: str) -> int:
        """Tokens of today that are counted for this person and not written down yet."""
        today = usage.today()
        with self._lock:
            mine = [used for place, used in self._counted.items() if (place.user_id, place.day) == (user_id, today)]
        return sum(used.prompt_tokens + used.completion_tokens for used in mine)

    def flush(self) -> None:
        """Write everything down. Where the database is away it is kept, and tried again after the next request."""
        with self._lock:
            counted, self._counted = self._counted, {}
            took, self._took = self._took, {}
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if not counted:
            return
        try:
            with self._database.session() as session:
                usage.add(session, counted)
                latency.add(session, took)
        except SQLAlchemyError as away:
            log_failure(away)
            with self._lock:
                for place, counts in counted.items():
                    self._counted[place] = self._counted.get(place, Counts()) + counts
                for slot, answers in took.items():
                    self._took[slot] = self._took.get(slot, 0) + answers


def register_usage(app: Flask, meter: UsageMeter) -> None:
    """Count every request of a known caller, refused ones too, once its answer has ended. A view that writes text says
    so in g.tally."""

    def begin() -> None:
        g.tally = Tally()

    def end(response: Response) -> Response:
        if "caller" in g:
            caller, tally = g.caller, g.tally
            if response.status_code < 400 and not response.is_streamed:
                tally.answered()
            response.call_on_close(lambda: meter.count(caller, tally))
        return response

    app.before_request(begin)
    app.after_request(end)
