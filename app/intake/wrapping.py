"""Lines that a program broke because they were full are made whole again: a voice must not learn where they ended.

Knows no file and no table.
"""

import re
from itertools import pairwise

LEAST_WIDTH, MOST_WIDTH = 40, 130
_MOST_ARE_FULL = 0.5  # of the lines that another one follows, in a text that was wrapped
_STANDS_ALONE = re.compile(r"\s|[-*•>#|]\s|\d{1,3}[.)]\s")  # an indented line, an item of a list, a heading
_HYPHENATED = re.compile(r"[a-zà-ÿ]-$")


def unwrapped(text: str, *, slack: float = 0.0, hyphens: bool = False) -> str:
    """Join a line with the next where the next one's first word had not fitted; an author's own line ends stay.
    slack: how much of the width may be left all the same, where letters have different widths. hyphens: mend words
    that were divided at a line's end."""
    lines = text.split("\n")
    width = max(map(len, lines))
    if not LEAST_WIDTH <= width <= MOST_WIDTH:
        return text
    full = [_was_full(line, following, width * (1 - slack)) for line, following in pairwise(lines)]
    followed = sum(bool(line.strip() and following.strip()) for line, following in pairwise(lines))
    if sum(full) < _MOST_ARE_FULL * followed:  # the longest line of a poem is no longer than it had to be
        return text
    made = [lines[0]]
    for was_full, line in zip(full, lines[1:], strict=True):
        if was_full:
            made[-1] = _joined(made[-1], line, hyphens)
        else:
            made.append(line)
    return "\n".join(made)


def reflowed(text: str, *, delsp: bool = False) -> str:
    """The same by RFC 3676 (format=flowed), where a space at its end says that a line goes on. Quoted lines stay."""
    made: list[str] = []
    flows = False
    for raw in text.split("\n"):
        line = raw[1:] if raw.startswith(" ") else raw  # space-stuffing
        quoted = raw.startswith(">")
        if flows and not quoted and raw.rstrip() != "--":
            made[-1] += line
        else:
            made.append(line)
        flows = line.endswith(" ") and raw != "-- " and not quoted
        if flows and delsp:
            made[-1] = made[-1][:-1]
    return "\n".join(made)


def _was_full(line: str, following: str, width: float) -> bool:
    if not line.strip() or not following.strip() or _STANDS_ALONE.match(following):
        return False
    return len(line.rstrip()) + 1 + len(following.split(maxsplit=1)[0]) > width


def _joined(line: str, following: str, hyphens: bool) -> str:
    if hyphens and _HYPHENATED.search(line) and following[0].islower():
        return line[:-1] + following
    return f"{line.rstrip()} {following}"
