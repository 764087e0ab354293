"""What the process that reads people's files may still do: think for a while, in a bounded memory, and answer.

Limits of the operating system for memory, processor time, files and core dumps; and a hook of the interpreter's that
refuses networks, processes, writing, and reading anything but Python's own library. The parsers are Python code, so a
file that steers one of them meets the hook; it would not stop native code. Knows no kind of file.
"""

import resource
import sys
import sysconfig
from typing import Any

MEMORY_BYTES = 1024 * 1024 * 1024  # of address space: the interpreter with its parsers takes about an eighth of it
PROCESSOR_S = 120
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "ctypes.")
_WRITING = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate")


class NotAllowed(BaseException):
    """Something that reading a file never needs. Not an Exception, so that no parser takes it for a slip of its own."""


def confine() -> None:
    """From here on, for good."""
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, PROCESSOR_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),  # a dump would put the text on a disk
    ):
        _, hard = resource.getrlimit(limit)
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (wanted, wanted))
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_FORBIDDEN) or event in _WRITING or (event == "open" and not _is_library(*arguments[:2])):
        raise NotAllowed(event)


def _is_library(path: object, mode: object) -> bool:
    """Parsers load parts of the library late: codecs, for one."""
    if isinstance(path, bytes):
        path = path.decode(errors="replace")
    reading = mode is None or (isinstance(mode, str) and not set(mode) & set("wax+"))
    return isinstance(path, str) and reading and path.startswith(_LIBRARIES) and ".." not in path
