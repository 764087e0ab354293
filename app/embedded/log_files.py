"""One log file per part: appended to by the part itself, put aside when it has grown, quoted when the part dies."""

from pathlib import Path
from typing import IO

ROTATE_AT_BYTES = 5 * 1024 * 1024
TAIL_BYTES = 16 * 1024


def open_log(path: Path) -> IO[bytes]:
    """Open for appending; a file above ROTATE_AT_BYTES becomes `<name>.1` first, replacing the one before it."""
    if path.exists() and path.stat().st_size > ROTATE_AT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    path.touch(mode=0o600)
    return path.open("ab")


def last_lines(path: Path, count: int = 12) -> str:
    """The end of a log as text, each line indented by four spaces; a note where there is none."""
    if not path.exists():
        return "    (no log was written)"
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join("    " + line for line in lines[-count:]) or "    (the log is empty)"
