"""How much of the machine others used while something was timed, so that a figure can say how quiet it was. Owns the
reading of the kernel's counters; knows nothing of what is timed."""

import os
import time
from pathlib import Path

_COUNTERS = Path("/proc/stat")
_IDLE = (3, 4)  # idle, and waiting for a disk


class OtherLoad:
    """From its making on: cores that were busy with anything but this process, on average."""

    def __init__(self) -> None:
        self._began, self._others = time.monotonic(), _others_seconds()

    def cores(self) -> float | None:
        """Up to now; None where the kernel doesn't tell."""
        now = _others_seconds()
        if now is None or self._others is None:
            return None
        return round(max(0.0, now - self._others) / (time.monotonic() - self._began), 2)


def _others_seconds() -> float | None:
    if not _COUNTERS.exists():
        return None
    counted = _COUNTERS.read_text(encoding="ascii").splitlines()[0].split()[1:9]  # guests are in the first two already
    busy = sum(int(ticks) for place, ticks in enumerate(counted) if place not in _IDLE)
    return busy / os.sysconf("SC_CLK_TCK") - time.process_time()
