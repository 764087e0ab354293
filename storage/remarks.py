"""What was noticed about a writing sample when it came in: whose words were taken out of it, what it repeats, how it
differs from the rest. Kept sealed beside its text. Owns the shape; how things are noticed is the business of whoever
takes text in.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Self

from storage.words import count_words

OWN = ""


@dataclass(frozen=True)
class Part:
    """A stretch of a text as it came in. kind: OWN, or what it looks to be ("quote", "signature", …). out: it is not
    in the sample's text, but can be put back."""

    kind: str
    text: str
    out: bool

    @property
    def num_words(self) -> int:
        """Words in it."""
        return count_words(self.text)


@dataclass(frozen=True)
class Remarks:
    """source: the name of the file it came from. parts: the whole text as it came in, in order; empty where nothing was
    taken out. sender: who wrote it by the file's own account, where that is not known to be the person. repeats: the
    content mac of the sample that it mostly repeats, and share: how much of it stands there, 0 to 1. language: a code
    (ISO 639-1), where it differs from expected; expected_by: "rest" of the voice, or "base" model."""

    source: str | None = None
    parts: tuple[Part, ...] = ()
    sender: str | None = None
    repeats: str | None = None
    share: float = 0.0
    language: str | None = None
    expected: str | None = None
    expected_by: str | None = None

    @property
    def doubtful(self) -> bool:
        """Whether it had rather be left out, unless its owner says otherwise."""
        return self.sender is not None or self.repeats is not None

    @property
    def taken_out(self) -> tuple[Part, ...]:
        """The parts that are not in the text."""
        return tuple(part for part in self.parts if part.out)

    def with_part(self, number: int, *, out: bool) -> Self:
        """One part of `parts` taken out or put back. Raises IndexError when there is no such part of another's."""
        if number < 0 or self.parts[number].kind == OWN:
            raise IndexError(number)
        parts = list(self.parts)
        parts[number] = replace(parts[number], out=out)
        return replace(self, parts=tuple(parts))

    def to_json(self) -> bytes:
        """As it is sealed."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Back from to_json."""
        fields = json.loads(data)
        return cls(**{**fields, "parts": tuple(Part(**part) for part in fields["parts"])})


def kept_text(parts: Sequence[Part]) -> str:
    """The sample's text: the parts that are not out, each a paragraph of its own."""
    return "\n\n".join(part.text for part in parts if not part.out)
