"""Which pieces repeat others: by how many of their runs of words stand in another piece too. Knows no table.

A long piece is judged by a sample of its runs, the same for every piece (those whose hash is smallest), so that time
and memory grow with the text and not with the number of pairs.
"""

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

RUN_WORDS = 5
RUN_CHARS = 8  # where no spaces part words
LEAST_RUNS = 8  # of a piece that can be judged
MOST_RUNS = 400  # that a piece is judged by
NEAR = 0.5  # of its runs
_WORD = re.compile(r"\w+")
_CHARS_PER_WORD = 12


def repeated(new: Sequence[str], known: Sequence[str]) -> list[tuple[int, float] | None]:
    """For each new piece, which one it mostly repeats and how much of it, 0 to 1; None where it repeats none. Which:
    0 … of `known`, then, from len(known) on, of `new`: only ones before it."""
    runs = [_judged(text) for text in new]
    where: dict[int, list[int]] = defaultdict(list)
    for number, judged in enumerate(runs):
        for run in judged:
            where[run].append(number)
    best: list[tuple[int, float] | None] = [None] * len(new)
    for other, text in enumerate((*known, *new)):
        shared = Counter(number for run in set(filter(where.__contains__, _runs(text))) for number in where[run])
        for number, count in shared.items():
            share = count / len(runs[number])
            if other - len(known) < number and share >= NEAR and share > (best[number] or (0, 0.0))[1]:
                best[number] = (other, share)
    return best


def _judged(text: str) -> list[int]:
    runs = set(_runs(text))
    return heapq.nsmallest(MOST_RUNS, runs) if len(runs) >= LEAST_RUNS else []


def _runs(text: str) -> Iterator[int]:
    """Each run of words as a number."""
    folded = text.casefold()
    words = _WORD.findall(folded)
    if len(folded) > _CHARS_PER_WORD * len(words):
        joined = "".join(words)
        return map(hash, (joined[at : at + RUN_CHARS] for at in range(len(joined) - RUN_CHARS + 1)))
    return map(hash, zip(*(words[at:] for at in range(RUN_WORDS)), strict=False))
