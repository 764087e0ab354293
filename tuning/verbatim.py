"""The longest run that a generation repeats from the samples, word for word. Returns lengths, never the text; knows no
model."""

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class Overlap:
    """Lengths of the longest repeated runs: of words, and of characters. They may be two different runs."""

    words: int
    chars: int


def longest_overlap(generations: Sequence[str], samples: Iterable[str]) -> Overlap:
    """The longest run of words, and of characters, that stands within one of `generations` and within one of `samples`.

    Words are compared without case and punctuation, characters as they are but for the kind and amount of white space.
    Time and memory: the generations, which are short, are indexed; the samples only pass by, once.
    """
    words = _Runs(_words(text) for text in generations)
    chars = _Runs(_chars(text) for text in generations)
    longest = Overlap(0, 0)
    for sample in samples:
        longest = Overlap(
            max(longest.words, words.longest_in(_words(sample))), max(longest.chars, chars.longest_in(_chars(sample)))
        )
    return longest


def _words(text: str) -> Iterator[str]:
    return (match.group().casefold() for match in _WORD.finditer(text))


def _chars(text: str) -> str:
    return " ".join(text.split())


class _Runs:
    """A suffix automaton (Blumer and others 1985) of some sequences: every run of them, in states of their number of
    items, twice at most. An item that nothing equals ends each sequence, so that no run goes from one into the next."""

    def __init__(self, sequences: Iterable[Iterable[Hashable]]) -> None:
        self._next: list[dict[Hashable, int]] = [{}]
        self._link, self._length = [-1], [0]
        last = 0
        for sequence in sequences:
            for item in (*sequence, object()):
                last = self._append(last, item)

    def longest_in(self, sequence: Iterable[Hashable]) -> int:
        """The length of the longest run of `sequence` that is one of these."""
        following, link, lengths = self._next, self._link, self._length
        state = length = longest = 0
        for item in sequence:
            while state and item not in following[state]:
                state = link[state]
                length = lengths[state]
            if item in following[state]:
                state = following[state][item]
                length += 1
                longest = max(longest, length)
        return longest

    def _append(self, last: int, item: Hashable) -> int:
        new = self._state({}, 0, self._length[last] + 1)
        state = last
        while state >= 0 and item not in self._next[state]:
            self._next[state][item] = new
            state = self._link[state]
        if state >= 0:
            self._link[new] = self._ending(state, item)
        return new

    def _ending(self, state: int, item: Hashable) -> int:
        """The state of the run that ends `state` and then `item`, split off from longer ones where it shares theirs."""
        found = self._next[state][item]
        if self._length[found] == self._length[state] + 1:
            return found
        split = self._state(dict(self._next[found]), self._link[found], self._length[state] + 1)
        while state >= 0 and self._next[state].get(item) == found:
            self._next[state][item] = split
            state = self._link[state]
        self._link[found] = split
        return split

    def _state(self, following: dict[Hashable, int], link: int, length: int) -> int:
        self._next.append(following)
        self._link.append(link)
        self._length.append(length)
        return len(self._next) - 1
