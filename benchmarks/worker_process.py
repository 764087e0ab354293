"""The variables a process is started with where something is timed in it: the allocator settings that the platform's
workers have. Owns the environment; knows nothing of what is timed."""

import os
import sys

from app.embedded.roles import ALLOCATOR


def worker_environment(*, allocator: bool = True) -> dict[str, str]:
    """This process's variables and all of a worker's; or without the allocator's, though they stand in this process."""
    return _others() | {"OMP_WAIT_POLICY": "PASSIVE"} | (ALLOCATOR if allocator else {})


def restart_under_allocator(module: str) -> None:
    """Start this command, `python -m module …`, again under the allocator settings, unless it has them: they are read
    only when a process starts. How threads wait stays as it is: PEFT's, which share the work of one pass, lose a
    quarter by a worker's way of waiting where nobody else is at work."""
    wanted = _others() | ALLOCATOR
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], wanted)


def wait_policy() -> str | None:
    """How this process's threads wait for each other: as the caller set it; None for OpenMP's own way."""
    return os.environ.get("OMP_WAIT_POLICY")


def _others() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
