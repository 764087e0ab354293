"""When a part that died is started again: after a growing pause, and not for ever."""

from collections import deque
from dataclasses import dataclass, field

FAST_DEATHS = 5  # this many deaths …
WINDOW_S = 120.0  # … within this time, and the part is given up
LONGEST_PAUSE_S = 15.0


@dataclass
class Restarts:
    """The recent deaths of one part, in the seconds of a monotonic clock."""

    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=FAST_DEATHS))

    def note_death(self, at: float) -> None:
        """Remember a death."""
        self.deaths.append(at)

    @property
    def are_hopeless(self) -> bool:
        """True once the last FAST_DEATHS deaths all fell within WINDOW_S."""
        return len(self.deaths) == FAST_DEATHS and self.deaths[-1] - self.deaths[0] < WINDOW_S

    def due_at(self) -> float:
        """When to start again: 0.5 s after a first death, twice as long after each further one in the window."""
        last = self.deaths[-1]
        recent = sum(1 for death in self.deaths if last - death < WINDOW_S)
        return last + min(LONGEST_PAUSE_S, 0.25 * 2.0**recent)
