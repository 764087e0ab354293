"""The one clock of the platform: UTC seconds since the epoch, as the tables keep them."""

import time


def now() -> float:
    """Seconds since the epoch, UTC."""
    return time.time()
