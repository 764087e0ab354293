"""What comes out of a file, as the child process that reads files tells it to whoever asked: a JSON object a line.

Owns the four kinds of a finding. Knows neither how files are read nor what becomes of a piece.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from storage.remarks import Part


@dataclass(frozen=True)
class Piece:
    """One text. source: the name of its file, with the archive's before it. parts: whose words; see storage.remarks.
    sender: who wrote it by the file's own account, where that is not known to be the person."""

    source: str
    parts: tuple[Part, ...]
    title: str | None = None
    prompt: str | None = None
    written_on: str | None = None
    sender: str | None = None


@dataclass(frozen=True)
class Refused:
    """A file, or one in an archive, of which nothing is taken: why, in a sentence."""

    source: str
    sentence: str


@dataclass(frozen=True)
class Noted:
    """Something that was left out on purpose, in a sentence."""

    source: str
    sentence: str


@dataclass(frozen=True)
class Senders:
    """A mailbox in which nobody wrote who is known to be the person: who did, with the number of messages."""

    source: str
    addresses: tuple[tuple[str, int], ...]


Finding = Piece | Refused | Noted | Senders
_KINDS: Mapping[str, type[Refused | Noted]] = {"refused": Refused, "noted": Noted}


def to_line(finding: Finding) -> bytes:
    """One line of JSON."""
    return json.dumps({"kind": type(finding).__name__.lower(), **asdict(finding)}).encode() + b"\n"


def from_line(line: bytes) -> Finding:
    """Back from to_line. Raises ValueError, KeyError or TypeError when it is none."""
    fields: dict[str, Any] = json.loads(line)
    kind = fields.pop("kind")
    if kind == "piece":
        return Piece(**{**fields, "parts": tuple(Part(**part) for part in fields["parts"])})
    if kind == "senders":
        return Senders(fields["source"], tuple((address, int(count)) for address, count in fields["addresses"]))
    return _KINDS[kind](**fields)
