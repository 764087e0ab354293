"""How much one person, and everybody together, may have going on at once in one process.

Every generation and every event stream holds one of a server's threads until it ends; nobody may hold them all,
whatever the number of their keys or tabs, and no crowd may either. Used by both roles; knows no request and no engine.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import AppError

MAX_GENERATIONS = 16
MAX_EVENT_STREAMS = 4
MAX_UPLOADS = 1
MAX_DOWNLOADS = 2
MAX_EXPORTS = 1


class NoSeat(AppError):
    """This person has as much going on as one may. most: how much that is; what: of what, in the plural."""

    def __init__(self, most: int, what: str) -> None:
        super().__init__(f"At most {most} {what} of one account at once.")
        self.most = most
        self.what = what


class HouseFull(AppError):
    """All of them together have as much going on as this process takes. what: of what, in the plural."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Too many {what} are open just now.")
        self.what = what


class Seats:
    """So many seats for each person and, where in_all is given, so many altogether. Safe to share between threads."""

    def __init__(self, most: int, what: str, *, in_all: int | None = None) -> None:
        self._most = most
        self._what = what
        self._in_all = in_all
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def one(self, user_id: str) -> Iterator[None]:
        """A seat for as long as this is open. Raises NoSeat or HouseFull at once instead of waiting for one."""
        with self.several(user_id, 1):
            yield

    @contextmanager
    def several(self, user_id: str, count: int) -> Iterator[None]:
        """The same for so many seats: all of them, or none."""
        with self._lock:
            if self._taken[user_id] + count > self._most:
                raise NoSeat(self._most, self._what)
            if self._in_all is not None and self._taken.total() + count > self._in_all:
                raise HouseFull(self._what)
            self._taken[user_id] += count
        try:
            yield
        finally:
            self._give_back(user_id, count)

    def taken(self, user_id: str) -> int:
        """How many this person holds now."""
        with self._lock:
            return self._taken[user_id]

    def _give_back(self, user_id: str, count: int) -> None:
        with self._lock:
            self._taken[user_id] -= count
            if not self._taken[user_id]:
                del self._taken[user_id]  # people come and go; the table must not grow with them
