"""How the demo looks in a terminal: a bar that moves in place, two columns. Knows no platform.

Sentences and columns go to stdout; the moving bar goes to stderr, and becomes single lines where that is no terminal.
"""

import shutil
import sys
import textwrap
import time
from typing import Any, TextIO

BAR_WIDTH = 24
LINE_EVERY_S = 5.0
COLUMN_GAP = "  │  "
WIDEST = 140


def say(sentence: str = "") -> None:
    """One line on stdout."""
    print(sentence, flush=True)


class ProgressBar:
    """The progress of a training from its metrics: step of max_steps, held-out losses in bits per character."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._in_place = stream.isatty()
        self._shown_at = -LINE_EVERY_S
        self._last = self._printed = ""
        self._known: dict[str, Any] = {}

    def show(self, metrics: dict[str, Any]) -> None:
        """Draw the latest metrics; away from a terminal at most every LINE_EVERY_S seconds.

        What a step did not measure (null) keeps its value of the step before.
        """
        self._known |= {name: value for name, value in metrics.items() if value is not None}
        self._last = _progress_line(self._known)
        if self._in_place:
            print(f"\r\x1b[K{self._last}", end="", file=self._stream, flush=True)
        elif time.monotonic() - self._shown_at >= LINE_EVERY_S:
            self._print_last()

    def finish(self) -> None:
        """Leave the last state standing on a line of its own."""
        if self._in_place and self._last:
            print(file=self._stream, flush=True)
        elif self._last != self._printed:
            self._print_last()
        self._last = ""

    def _print_last(self) -> None:
        print(self._last, file=self._stream, flush=True)
        self._shown_at, self._printed = time.monotonic(), self._last


def _progress_line(metrics: dict[str, Any]) -> str:
    step, most = metrics["step"], max(1, metrics["max_steps"])
    filled = round(BAR_WIDTH * min(1.0, step / most))
    line = f"  training ▕{'█' * filled}{'·' * (BAR_WIDTH - filled)}▏ step {step} of {most}"
    if (held_out := metrics.get("held_out_loss")) is not None:
        line += f" · held-out {held_out:.3f} bits/char"
    if (base := metrics.get("base_held_out_loss")) is not None:
        line += f" (base model {base:.3f})"
    if (left := metrics.get("eta_seconds")) is not None:
        line += f" · about {left:.0f} s left"
    return line


def side_by_side(left_title: str, left: str, right_title: str, right: str, width: int | None = None) -> str:
    """Two texts in two columns under their titles, wrapped to the terminal's width in characters."""
    width = min(WIDEST, width or shutil.get_terminal_size((100, 24)).columns)
    column = max(20, (width - len(COLUMN_GAP)) // 2)
    sides = [
        [title, "─" * column, *_wrapped(text, column)] for title, text in ((left_title, left), (right_title, right))
    ]
    rows = max(map(len, sides))
    first, second = (side + [""] * (rows - len(side)) for side in sides)
    return "\n".join(f"{a:<{column}}{COLUMN_GAP}{b}".rstrip() for a, b in zip(first, second, strict=True))


def _wrapped(text: str, column: int) -> list[str]:
    return [line for part in text.splitlines() for line in (textwrap.wrap(part, column) or [""])]
