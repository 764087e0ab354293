"""`python -m app.embedded` as a person runs it: started in a process of its own, read line by line, stopped."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

from tests.source_tree import ROOT

READY = re.compile(r"Idiolect runs at (?P<url>http://127\.0\.0\.1:\d+) · (?P<advice>.+) · Ctrl-C stops it")
START_PATIENCE_S = 120
STOP_PATIENCE_S = 20


class PlatformProcess:
    """One platform. out, err: the lines it has written so far."""

    def __init__(self, data: Path, *, port: int = 0) -> None:
        # As a script's background job starts it: with SIGINT ignored. Ctrl-C has to stop it all the same.
        in_background = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
        command = [*in_background, sys.executable, "-m", "app.embedded", "--data", str(data), "--port", str(port)]
        self.out: list[str] = []
        self.err: list[str] = []
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"IDIOLECT_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._readers = [Thread(target=self._read, args=(name,), daemon=True) for name in ("out", "err")]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str) -> None:
        stream = self.process.stdout if name == "out" else self.process.stderr
        assert stream is not None
        with stream:
            for line in stream:
                getattr(self, name).append(line.rstrip("\n"))

    def wait_until_ready(self) -> re.Match[str]:
        """The line with the address; fails with everything that was said if it does not come."""
        deadline = time.monotonic() + START_PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in list(self.out):
                if found := READY.fullmatch(line):
                    return found
            time.sleep(0.1)
        raise AssertionError("\n".join(["the platform did not come up:", *self.out, *self.err]))

    def stop(self, with_signal: signal.Signals) -> int:
        """Send a signal to the supervisor alone, as a shell's Ctrl-C reaches it alone; the exit status."""
        self.process.send_signal(with_signal)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end; the exit status. What it said is complete then."""
        status = self.process.wait(STOP_PATIENCE_S)
        for reader in self._readers:
            reader.join(STOP_PATIENCE_S)
        return status


def processes_of(data: Path) -> list[int]:
    """Process ids of everything that was told to keep its data in this folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # ended meanwhile, or another user's
            continue
        if os.fsencode(data) in told and state != "Z" and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def pid_of(data: Path, *words: str) -> int:
    """The first process of this data folder whose command line has all these words."""
    for pid in sorted(processes_of(data)):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if all(any(word in part for part in command) for word in words):
            return pid
    raise AssertionError(f"no process of {data} has {words} in its command line")
