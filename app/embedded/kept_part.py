"""A part that is kept running: started, watched, started again, ended. Knows nothing of the other parts."""

import time
from collections.abc import Iterable

from app.embedded.errors import PlatformFailed
from app.embedded.log_files import last_lines
from app.embedded.part import Part, RunningPart
from app.embedded.restarts import Restarts


class KeptPart:
    """One part and its deaths."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._restarts = Restarts()
        self._waits_until: float | None = None
        self._running = RunningPart(part)

    @property
    def pid(self) -> int:
        """Process id of the part's latest process."""
        return self._running.process.pid

    def has_ended(self) -> bool:
        """True while no process of the part runs."""
        return self._running.has_ended()

    def tend(self, now: float) -> str:
        """Note a death, or start again once the pause is over. The sentence to show, or "".

        Raises PlatformFailed when it has died too often in too short a time.
        """
        if not self._running.has_ended():
            return ""
        if self._waits_until is None:
            return self._note_death(now)
        if now < self._waits_until:
            return ""
        self._waits_until = None
        self._running = RunningPart(self.part)
        return ""

    def ended_too_early(self) -> PlatformFailed:
        """The error for a part that ended before it ever answered."""
        return PlatformFailed(f"{self._how_it_ended()} before it was ready. The end of its log:\n{self._log_end()}")

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        self._running.ask_to_stop()

    def sweep(self) -> None:
        """SIGKILL to whatever is left of its process group."""
        self._running.sweep()

    def _note_death(self, now: float) -> str:
        self._running.sweep()
        self._restarts.note_death(now)
        if self._restarts.are_hopeless:
            raise PlatformFailed(
                f"{self._how_it_ended()} again and again, so everything is stopped. "
                f"The end of its log:\n{self._log_end()}"
            )
        self._waits_until = self._restarts.due_at()
        return f"{self._how_it_ended()}; it is started again (log: {self.part.log})"

    def _how_it_ended(self) -> str:
        code = self._running.process.poll()
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
        return f"the {self.part.name} {how}"

    def _log_end(self) -> str:
        return f"{last_lines(self.part.log)}\n    (all of it: {self.part.log})"


def stop_all(parts: Iterable[KeptPart], patience_s: float) -> None:
    """Ask all to stop at once, wait together, then kill what is left."""
    stopping = list(parts)
    for part in stopping:
        part.ask_to_stop()
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and not all(part.has_ended() for part in stopping):
        time.sleep(0.05)
    for part in stopping:
        part.sweep()
