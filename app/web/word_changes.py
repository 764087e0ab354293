"""Two texts compared word by word: what went and what came, and how much of a text is still as a draft had it. Knows no
HTML and keeps nothing."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import Match, SequenceMatcher
from typing import Literal

from storage.words import number_of, words

RUN = 3  # words: a shorter run that two texts share is chance
MOST_STEPS = 500_000  # about a tenth of a second; 8,000 characters of ordinary writing take less than 200,000
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


class Comparison(SequenceMatcher[str]):
    """Of two lists of words, with an end to the work: whoever repeats few words often enough would have every word
    compared with every other. What is not looked at within MOST_STEPS counts as replaced."""

    def __init__(self, before: Sequence[str], after: Sequence[str]) -> None:
        super().__init__(None, before, after, autojunk=False)
        met = Counter(after)
        self.steps = [1 + met[word] for word in before]  # that looking for each takes
        self.steps_left = MOST_STEPS

    def find_longest_match(self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None) -> Match:
        """The longest run that two stretches share; none when looking for it would take too long."""
        if self.steps_left > 0:
            self.steps_left -= sum(self.steps[alo:ahi])
        if self.steps_left <= 0:
            return Match(alo, blo, 0)
        return super().find_longest_match(alo, ahi, blo, bhi)


def changes(old: str, new: str) -> list[Change]:
    """The way from one text to the other, in order: what stayed and what is new, joined, are the new one."""
    before, after = _PIECE.findall(old), _PIECE.findall(new)
    matcher = Comparison([piece.strip() for piece in before], [piece.strip() for piece in after])
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
