"""Asks the kernel to end a child when the platform that started it dies without a chance to stop it.

Linux only and best effort: elsewhere a killed platform leaves its children behind. Knows nothing of what runs.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def dies_with_parent(with_signal: signal.Signals) -> Callable[[], None] | None:
    """A function to run in the child between fork and exec, or None where the kernel has no such wish.

    The library is loaded here, in the parent, so that the child only makes two system calls.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the wish was heard
            os.kill(os.getpid(), signal.SIGKILL)

    return ask
