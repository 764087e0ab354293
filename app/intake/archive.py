"""What is in a .zip: its names and sizes are looked at before anything is unpacked, and no archive in an archive is.

Only what is stored or deflated is unpacked: Python's zipfile unpacks every other kind whole, whatever size was named.
Knows no kind of file but this one.
"""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import PurePosixPath

from app.intake.errors import Unreadable
from app.intake.word_document import LOCKED

MOST_ENTRIES = 2_000
ENTRY = b"PK\x01\x02"  # how each one begins in the archive's table of contents
MOST_LISTED = 20 * MOST_ENTRIES  # of these: folders and clutter count, and what stored archives in it list
MOST_BYTES = 128 * 1024 * 1024  # unpacked, of all together
MOST_TIMES = 200  # as large as packed: text gets about ten times smaller
ARCHIVES = (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar", ".zst", ".jar")
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
NESTED = "An archive in an archive is not unpacked. Add it by itself."
UNUSUAL = (
    "This file is packed in an unusual way. Make the .zip again in the ordinary way (deflate), or add it by itself."
)


def _any(_: str) -> bool:
    return True


def entries(data: bytes, wants: Callable[[str], bool] = _any) -> Iterator[tuple[str, bytes | Unreadable]]:
    """Each file's name and content, or why it can't be had, in the archive's order. What an operating system puts
    beside people's files is passed over. wants: which names are unpacked, the rest is passed over too. Raises
    Unreadable for the whole."""
    if (number := data.count(ENTRY)) > MOST_LISTED:  # before zipfile makes an object of each
        raise Unreadable(_too_many(number))
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            listed = [info for info in archive.infolist() if not info.is_dir() and not _is_clutter(info.filename)]
            _require_reasonable(listed, len(data))
            for info in listed:
                if not wants(info.filename):
                    continue
                yield info.filename, _content(archive, info)
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError):
        raise Unreadable("This .zip is damaged. Make it again, or add the files themselves.") from None


def _require_reasonable(listed: list[zipfile.ZipInfo], packed: int) -> None:
    size = sum(info.file_size for info in listed)
    if not listed:
        raise Unreadable("There is no file in this .zip.")
    if len(listed) > MOST_ENTRIES:
        raise Unreadable(_too_many(len(listed)))
    if size > MOST_BYTES or size > MOST_TIMES * max(packed, 1):
        raise Unreadable("This .zip unpacks to far more than can be read. Add the files themselves, in smaller lots.")


def _too_many(number: int) -> str:
    return f"This .zip has {number:,} files, and one may have {MOST_ENTRIES:,}. Make smaller ones."


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | Unreadable:
    if PurePosixPath(info.filename).suffix.lower() in ARCHIVES:
        return Unreadable(NESTED)
    if info.flag_bits & 1:
        return Unreadable(LOCKED)
    if info.compress_type not in BOUNDED:
        return Unreadable(UNUSUAL)
    try:
        with archive.open(info) as file:
            return file.read(info.file_size + 1)[: info.file_size]  # whatever it says, no more than was looked at
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, NotImplementedError, RuntimeError):
        return Unreadable("This file is damaged in the .zip. Add it by itself.")


def _is_clutter(name: str) -> bool:
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name.startswith(".") or path.name in ("Thumbs.db", "desktop.ini")
