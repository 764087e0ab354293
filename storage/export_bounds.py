"""How much of an export is read when it is brought in, looked at in its bytes before any of it is parsed.

What JSON takes in memory and time goes by the number of its values more than by its length: 16 MiB of empty lists take
more than a gibibyte. So bytes and values are counted both, of each thing that is parsed by itself and of all together.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import islice

from storage.errors import InvalidExport
from storage.export_format import MANIFEST, SAMPLES, VOICE
from storage.text_intake import MAX_SAMPLES

MOST_MANIFEST_BYTES = 16 * 1024  # a hundred are written
MOST_VOICE_BYTES, MOST_VOICE_VALUES = 8 * 1024 * 1024, 500_000  # a training of 500 samples: 100 KB, 6,000 values
MOST_LINE_BYTES, MOST_PARTS = 6_000_000, 5_000  # of one sample
MOST_LINE_VALUES = 10 * MOST_PARTS  # a part is written as nine
MOST_BYTES, MOST_VALUES = 64 * 1024 * 1024, 2_000_000  # of all together
NO_EXPORT = "This is no export of this platform: manifest.json is missing or is not one."
TOO_MUCH = (
    "This export holds more than is read at once. Leave some of the folders under voices out of the .zip, "
    "and bring those in afterwards."
)
# A string, which ends with its line at the latest, or a mark outside strings. It never goes back, so it is linear.
_VALUE = re.compile(rb'"(?:[^"\\\n]++|\\.)*+"?|[\[{,]')


def require_readable(files: Mapping[str, bytes]) -> None:
    """files: path -> content, of those that are read. Raises InvalidExport where one of them, or all together, hold
    more than is read."""
    if len(files.get(MANIFEST, b"")) > MOST_MANIFEST_BYTES:
        raise InvalidExport(NO_EXPORT)
    if sum(map(len, files.values())) > MOST_BYTES:
        raise InvalidExport(TOO_MUCH)
    left = MOST_VALUES
    for number in _counted(files):
        left -= number
        if left < 0:
            raise InvalidExport(TOO_MUCH)


def _counted(files: Mapping[str, bytes]) -> Iterator[int]:
    """The values in each thing that is parsed by itself."""
    for path, content in files.items():
        if path.endswith(f"/{VOICE}"):
            yield _in_voice(content, path)
        if path.endswith(f"/{SAMPLES}"):
            yield from _in_samples(content, path)


def _in_voice(content: bytes, path: str) -> int:
    number = values(content, MOST_VOICE_VALUES)
    if len(content) > MOST_VOICE_BYTES or number > MOST_VOICE_VALUES:
        raise InvalidExport(
            f"{path}: this is longer than can be read. Only the name in it is brought in: empty its lists of versions, "
            "runs and votes, and pack the .zip again."
        )
    return number


def _in_samples(content: bytes, path: str) -> Iterator[int]:
    num_lines = content.count(b"\n") + (not content.endswith(b"\n"))
    if num_lines > MAX_SAMPLES:
        raise InvalidExport(f"{path}: {num_lines:,} samples, and a voice may have {MAX_SAMPLES}.")
    for place, line in enumerate(content.split(b"\n"), start=1):
        number = values(line, MOST_LINE_VALUES)
        if len(line) > MOST_LINE_BYTES or line.count(b'"kind"') > MOST_PARTS or number > MOST_LINE_VALUES:
            where = f"{path}, line {place}"
            raise InvalidExport(f"{where}: a sample may have {MOST_LINE_BYTES:,} bytes and {MOST_PARTS:,} noted parts.")
        yield number


def values(data: bytes, most: int) -> int:
    """How many strings, lists, objects and commas are in this JSON; beyond `most` it is no longer counted."""
    return sum(1 for _ in islice(_VALUE.finditer(data), most + 1))
