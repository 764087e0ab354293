"""A language for tests: every message of the catalogue as it is in English, between ⟦ and ⟧. What stands outside of
such brackets on a page was not marked, or is data: a value's place is outside of them too."""

import re
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from app.web.catalogues import PLACE, PLACEHOLDER
from app.web.messages import CATALOGUE

CODE = "en-GB"
_TAG = re.compile(r"(<[^>]*>)")
_NOTHING = "⟦⟧"


def write(folder: Path) -> Path:
    """The catalogue of this language, in a folder of catalogues."""
    place = folder / CODE.replace("-", "_") / PLACE
    place.parent.mkdir(parents=True)
    with place.open("wb") as file:
        write_po(file, translated())
    return folder


def translated() -> Catalog:
    """The messages of the project, in this language."""
    with CATALOGUE.open("rb") as file:
        template = read_po(file)
    said = Catalog(locale=CODE.replace("-", "_"))
    for message in template:
        if message.id:
            forms = message.id if isinstance(message.id, tuple) else (message.id,)
            wrapped = tuple(wrap(form) for form in forms)
            said.add(message.id, wrapped if len(wrapped) > 1 else wrapped[0], context=message.context)
    return said


def wrap(message: str) -> str:
    """'Version %(version)s' -> '⟦Version ⟧%(version)s'. Places in a tag stay as they are."""
    pieces = _TAG.split(message)  # text, tag, text … text
    pieces[::2] = [PLACEHOLDER.sub(lambda place: f"⟧{place.group()}⟦", piece) for piece in pieces[::2]]
    return f"⟦{''.join(pieces)}⟧".replace(_NOTHING, "")


def bare(texts: list[str]) -> list[str]:
    """Of texts in the order of a page, what stands outside of all brackets."""
    depth, found = 0, []
    for text in texts:
        outside = ""
        for char in text:
            if char == "⟧":
                depth -= 1
            if depth == 0 and char not in "⟦⟧":
                outside += char
            elif outside:
                found.append(outside)
                outside = ""
            if char == "⟦":
                depth += 1
        found.append(outside)
    assert depth == 0, "a bracket is missing on this page"
    return [kept for piece in found if (kept := piece.strip())]
