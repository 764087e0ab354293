"""Every page at each of its states, read in a language whose every message stands between ⟦ and ⟧: what stands outside
is data, or somebody forgot to mark it for translation. What scripts say is on these pages too."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.pieces.reading import BUNDLED, read_pieces
from app.web.guests import _title
from tests import pseudo_language
from tests.end_to_end import console_screenshots, sample_screenshots, screenshots
from tests.end_to_end.album import LOOKS, Look, Sight, walk_through
from tests.end_to_end.browsing import needs_browser
from tests.factories import SAMPLE_TEXTS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900), needs_browser]  # the walk is one fixture of many pages
ROOMS = (screenshots.take_all, sample_screenshots.take_all, console_screenshots.take_all)
# Texts in the page's order, and attributes that are read out or shown. Not looked at: what people wrote or named, code,
# moments (which times.js puts into the browser's manner), words whose use is counted, and what a browser does not show.
WORDS = """() => {
  const data = "code, pre, time, textarea, script, style, noscript, .theirs, .id, .mono, .prose, .excerpt, .compared, "
    + ".style-table th[scope=row]";
  const texts = [document.title];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) if (!walker.currentNode.parentElement.closest(data)) texts.push(walker.currentNode.data);
  const shown = ["title", "placeholder", "aria-label", "alt", "data-label", "data-title"];
  const attributes = [...document.querySelectorAll("*")].filter((element) => !element.matches("time"))
    .flatMap((element) => shown.map((name) => element.getAttribute(name)).filter(Boolean));
  return { texts, attributes };
}"""
NAMES = (  # of people, voices, files, models and keys, and what stands for itself in any language
    *(title for title in screenshots.TITLES if title),
    *(_title(piece.title or "") for piece in read_pieces(BUNDLED)),
    *("Idiolect", "CSV", "HTTP", "UTC", "curl", "English", "French", "Letters", "My voice", "The roof", "Three rules"),
    *(
        "second try",
        "ferry",
        "cuisine",
        "novel",
        "the shop",
        "reply",
        "from Bob",
        "nobody",
        "laptop",
        "nightly letters",
    ),
    *(
        "the old phone that fell into the harbour",
        "idiolect-base",
        "idiolect-base-small",
        "generate",
        "samples",
        "tuning",
    ),
    *("read", "A new disk goes in", "until about noon"),
    "She asked why two of her trainings found nothing in this one",
)
DATA = re.compile(
    r"\S+@[\w.-]+|[\w ›/]+\.(?:txt|md|docx|pdf|eml|mbox|jsonl|jpg|zip)\b|\.\w+"  # addresses, files and their endings
    r"|\b(?:run|user|voice|key|idl)-[\w-]+|\b[0-9a-f]{8}\b|\b[a-z_]+\.[a-z_]+\b|\b[a-z_]+:"  # ids, deeds, details
    rf"|\b(?:{'|'.join(sorted(map(re.escape, NAMES), key=len, reverse=True))})(?!\w)"
)
WORD = re.compile(r"[^\W\d_]{2}")


def is_data(text: str) -> bool:
    """Whether it is a sample's first words, or holds nothing but names and codes."""
    begins = text.removesuffix(" …")
    is_sample = len(begins) > 40 and any(sample.startswith(begins) for sample in SAMPLE_TEXTS)
    return is_sample or not WORD.search(DATA.sub("", text))


@dataclass
class Reader:
    """An onlooker who notes what is not translated."""

    translations: str
    looks: Sequence[Look] = LOOKS[:1]
    language: str = pseudo_language.CODE
    untranslated: dict[str, set[str]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def passed(self, endpoint: str) -> None:
        """Nothing to read there."""

    def see(self, sight: Sight) -> None:
        """Read it."""
        said: dict[str, Any] = sight.page.evaluate(WORDS)
        self.seen.add(sight.state)
        found = pseudo_language.bare(said["texts"])
        for attribute in said["attributes"]:
            found += pseudo_language.bare([attribute])
        if wrong := {text for text in found if not is_data(text)}:
            self.untranslated[sight.state] = wrong


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Who has read everything."""
    seen = Reader(str(pseudo_language.write(tmp_path_factory.mktemp("translations"))))
    walk_through(seen, ROOMS)
    return seen


def test_every_word_of_every_page_can_be_translated(reader: Reader) -> None:
    assert len(reader.seen) > 60
    assert not reader.untranslated, "\n".join(
        f"{state}: {sorted(words)}" for state, words in reader.untranslated.items()
    )


@pytest.mark.parametrize("text", ["Add", "Version", "3 words", "read it"])
def test_words_are_not_taken_for_data(text: str) -> None:
    assert not is_data(text)
