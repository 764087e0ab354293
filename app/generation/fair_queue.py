"""Who waits, and whose turn it is: round robin over owners, first come first served within each.

An owner with a thousand waiting requests delays another one's first by a single turn. Knows nothing of rows or models;
an owner is any string.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from app.generation.sequence import Sequence


class FairQueue:
    """The waiting requests. Owners without any are forgotten, so that it never grows with who has ever asked."""

    def __init__(self) -> None:
        self._of_owner: dict[str, deque[Sequence]] = {}  # in the order of their turns

    def __len__(self) -> int:
        return sum(map(len, self._of_owner.values()))

    def __iter__(self) -> Iterator[Sequence]:
        """All of them, an owner at a time."""
        for waiting in self._of_owner.values():
            yield from waiting

    @property
    def num_ready(self) -> int:
        """How many could begin: those that wait for another answer to their request can't."""
        return sum(not sequence.waits_for_kin for sequence in self)

    def extend(self, sequences: Iterable[Sequence]) -> None:
        """Let more wait, each behind its owner's others; a new owner's turn comes after everybody's."""
        for sequence in sequences:
            self._of_owner.setdefault(sequence.owner, deque()).append(sequence)

    @property
    def next(self) -> Sequence | None:
        """Whose turn it is: of the first owner whose first one does not wait for another answer to its request."""
        firsts = (waiting[0] for waiting in self._of_owner.values())
        return next((first for first in firsts if not first.waits_for_kin), None)

    def take(self, first: Sequence) -> None:
        """Take out the `next` one; its owner's turn comes again after everybody else's."""
        waiting = self._of_owner.pop(first.owner)
        waiting.popleft()
        if waiting:
            self._of_owner[first.owner] = waiting

    def remove(self, sequence: Sequence) -> None:
        """Take out one that waits, wherever it stands. The turns stay as they are."""
        waiting = self._of_owner[sequence.owner]
        waiting.remove(sequence)
        if not waiting:
            del self._of_owner[sequence.owner]

    def clear(self) -> None:
        """Forget them all."""
        self._of_owner.clear()
