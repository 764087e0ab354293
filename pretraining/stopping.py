"""When a training stops before its budget: on SIGTERM, on Ctrl-C, or after so many minutes. Knows nothing of what it
stops."""

import math
import signal
import time
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """A context in which the signals only leave word; the training asks between two steps."""

    def __init__(self, minutes: float = math.inf) -> None:
        self._ends = time.monotonic() + 60 * minutes
        self._asked = False
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether to stop now."""
        return self._asked or time.monotonic() >= self._ends

    def ask(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Stop before the next step."""
        self._asked = True

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self.ask) for number in _SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, wrong: BaseException | None, at: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
