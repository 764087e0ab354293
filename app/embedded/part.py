"""One part of the platform: what to run, and the running process. Knows neither order nor restarts.

Every process leads a session and process group of its own, so that Ctrl-C in the terminal reaches the supervisor
alone and a part can be ended with everything it started.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.embedded.log_files import open_log
from app.embedded.parent_death import dies_with_parent

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Part:
    """What to run.

    is_healthy: asked after the start until it says yes; quick, never raises.
    inherited: file descriptors the process keeps. orphaned: the signal it gets when the supervisor dies.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    is_healthy: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    inherited: tuple[int, ...] = ()
    orphaned: signal.Signals = signal.SIGTERM


class RunningPart:
    """A started part."""

    def __init__(self, part: Part) -> None:
        self.part = part
        with open_log(part.log) as log:
            self.process = subprocess.Popen(  # noqa: S603 - the commands are the platform's own
                part.command,
                cwd=PROJECT,
                env=dict(part.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=part.inherited,
                start_new_session=True,
                preexec_fn=dies_with_parent(part.orphaned),  # safe: the supervisor has one thread
            )

    def has_ended(self) -> bool:
        """True once the process is gone."""
        return self.process.poll() is not None

    def ask_to_stop(self) -> None:
        """SIGTERM to the process, which ends what it started itself."""
        if not self.has_ended():
            self.process.terminate()

    def sweep(self) -> None:
        """SIGKILL to whatever is left of the whole group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
