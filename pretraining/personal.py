"""Which documents are somebody's own writing. Knows no tokenizer and no model."""

import re
from collections.abc import Collection

from pretraining.corpus import Document

# Sources of written text by people of today; talk and novels are somebody's too, but not as people write.
WRITTEN: Collection[str] = ("open_prose", "org_blogs")
LEAST_RATE = 0.015
_FIRST_PERSON = re.compile(r"\b(?:I|me|my|mine|myself)\b")  # with a capital I only: "i" is a counter's name


def is_personal(document: Document) -> bool:
    """Of a written source, and with so many words in the first person singular."""
    return document.source in WRITTEN and first_person_rate(document.text) > LEAST_RATE


def first_person_rate(text: str) -> float:
    """First-person words per word."""
    return len(_FIRST_PERSON.findall(text)) / max(1, len(text.split()))
