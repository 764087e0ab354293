"""A .zip that is sent while it is being packed: no more of it is in memory than the file in hand."""

import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

PACKED = (".safetensors",)  # numbers hardly get smaller


class Outlet(io.RawIOBase):
    """Takes what zipfile writes, in order, until it is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        waiting, self._waiting = b"".join(self._waiting), []
        return waiting


def zipped(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """The archive of these (path, content), piece by piece. Where making them fails it breaks off without its table of
    contents, so that nobody takes a part for the whole."""
    outlet = Outlet()
    archive = zipfile.ZipFile(outlet, "w", zipfile.ZIP_DEFLATED)
    for path, content in files:
        archive.writestr(path, content, zipfile.ZIP_STORED if path.endswith(PACKED) else None)
        yield outlet.take()
    archive.close()
    yield outlet.take()
