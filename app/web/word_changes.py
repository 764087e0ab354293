"""Two texts compared word by word: what went and what came, and how much of a text is still as a draft had it. Knows no
HTML and keeps nothing."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from storage.words import number_of, words

RUN = 3  # words: a shorter run that two texts share is chance
_PIECE = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True)
class Change:
    """A stretch of words with the spaces behind them: that stayed, went, or came."""

    kind: Literal["same", "gone", "new"]
    text: str

    @property
    def words(self) -> str:
        """Without the spaces."""
        return self.text.rstrip()

    @property
    def space(self) -> str:
        """What stands behind the last word."""
        return self.text[len(self.words) :]


@dataclass(frozen=True)
class Shares:
    """Words of a text: all of them, and those that stand in it as some draft had them."""

    words: int
    drafted: int

    @property
    def own(self) -> int:
        """Words that are in no draft, or not in that order."""
        return self.words - self.drafted


def changes(old: str, new: str) -> list[Change]:
    """The way from one text to the other, in order: what stayed and what is new, joined, are the new one."""
    before, after = _PIECE.findall(old), _PIECE.findall(new)
    matcher = SequenceMatcher(None, [piece.strip() for piece in before], [piece.strip() for piece in after], False)
    found: list[Change] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            found.append(Change("same", "".join(after[c:d])))
            continue
        found += [Change("gone", "".join(before[a:b]))] if a < b else []
        found += [Change("new", "".join(after[c:d]))] if c < d else []
    return found


def shares(text: str, drafts: Iterable[str]) -> Shares:
    """How many of a text's words stand in it in a run of RUN or more that one of these drafts has too, wherever."""
    found = words(text)
    runs = {run for draft in drafts for run in _runs(words(draft))}
    covered = {place for start, run in enumerate(_runs(found)) if run in runs for place in range(start, start + RUN)}
    return Shares(words=number_of(found), drafted=number_of([found[place] for place in covered]))


def _runs(found: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(found[start : start + RUN]) for start in range(len(found) - RUN + 1)]
