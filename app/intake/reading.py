"""Having people's files read by a process that may fail: by memory, time or any trick, and never with this one.

One child for all files of an upload. Where it dies or takes too long, that file is refused in a sentence, and a new
child goes on with the next, in an archive too. Knows no kind of file and no table.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import structlog

from app.intake.findings import Finding, Refused, from_line

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "app.intake.reader")
FILE_S = 30.0
UPLOAD_S = 90.0
_MOST_LINE_BYTES = 16 * 1024 * 1024
ENVIRONMENT = {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}  # no more: ours names the master key
log = structlog.get_logger()

TOO_MUCH = "This file took too long or too much memory to be read. Save it in a simpler form, or paste its text."
NO_TIME = "There was no time left to read this file. Add it once more, with fewer others."


@dataclass(frozen=True)
class GivenFile:
    """A file as somebody gave it."""

    name: str
    data: bytes


def read_files(
    files: Sequence[GivenFile], addresses: Collection[str], *, file_s: float = FILE_S, upload_s: float = UPLOAD_S
) -> Iterator[Finding]:
    """What is in these files, in their order. addresses: the person's own. file_s: for any one file, or one in an
    archive; upload_s: for all."""
    until = time.monotonic() + upload_s
    children = _Children(until, file_s)
    try:
        for file in files:
            yield from _whole(children, file, addresses)
    finally:
        children.end()


def _whole(children: "_Children", file: GivenFile, addresses: Collection[str]) -> Iterator[Finding]:
    """All of one file, by as many children as it takes."""
    begun: list[str] = []
    while True:
        if children.out_of_time:
            yield Refused(file.name, NO_TIME)
            return
        before = len(begun)
        if (yield from children.read(file, addresses, begun)):
            return
        yield Refused(begun[-1] if len(begun) > before else file.name, TOO_MUCH)
        if len(begun) == before:
            return


class _Children:
    """At most one child at a time. until: by time.monotonic(), when all of it must be over."""

    def __init__(self, until: float, file_s: float) -> None:
        self._until = until
        self._file_s = file_s
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def out_of_time(self) -> bool:
        """Whether nothing more may be begun."""
        return time.monotonic() >= self._until

    def read(self, file: GivenFile, addresses: Collection[str], begun: list[str]) -> Generator[Finding, None, bool]:
        """What is in a file. Adds to `begun` what is begun in an archive, and passes over what is there already.
        Returns whether the child came to the end."""
        child = self._started()
        asked = {"name": file.name, "num_bytes": len(file.data), "addresses": sorted(addresses), "skip": len(begun)}
        with _Deadline(child, min(self._file_s, self._until - time.monotonic())) as deadline:
            with suppress(BrokenPipeError):  # then there is nothing to read either
                _pipe(child.stdin).write(json.dumps(asked).encode() + b"\n" + file.data)
                _pipe(child.stdin).flush()
            while line := _pipe(child.stdout).readline(_MOST_LINE_BYTES):
                kind = json.loads(line).get("kind") if line.endswith(b"\n") else None
                if kind == "end":
                    return True
                if kind == "begun":
                    begun.append(json.loads(line)["source"])
                    deadline.put_off(min(self._file_s, self._until - time.monotonic()))
                elif kind is not None:
                    yield from_line(line)
                else:
                    break
        self.end()
        log.warning("a file could not be read to its end", status=child.returncode)
        return False

    def end(self) -> None:
        """The child that there is, if any."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            self._child = subprocess.Popen(  # noqa: S603 - this very interpreter, with no word from outside
                COMMAND,
                cwd=ROOT,
                env=ENVIRONMENT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # a parser's complaint may hold what it was reading
            )
        return self._child


class _Deadline:
    """Kills a child that is not done in time."""

    def __init__(self, child: subprocess.Popen[bytes], seconds: float) -> None:
        self._child = child
        self._timer = self._in(seconds)

    def put_off(self, seconds: float) -> None:
        """So many seconds from now instead."""
        self._timer.cancel()
        self._timer = self._in(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def _in(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(max(0.0, seconds), self._child.kill)
        timer.daemon = True
        timer.start()
        return timer


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # both are asked for
    return pipe
