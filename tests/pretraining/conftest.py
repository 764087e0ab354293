"""Made-up text in the form of the real corpus, a tokenizer fitted on it, and a shape that trains in seconds."""

import lzma
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from pretraining.corpus import SEPARATOR, documents_in
from pretraining.shape import Shape
from pretraining.tokenizer import fit_tokenizer
from pretraining.tokens import write_tokens

SHAPE = Shape(layers=2, hidden=32, feed_forward=64, heads=2, kv_heads=1, rows=4, length=48, vocabulary=400)
_NOUNS = ("harbour", "garden", "kitchen", "letter", "winter", "neighbour", "bicycle", "library", "mountain", "supper")
_VERBS = ("remember", "carry", "mend", "paint", "forget", "borrow", "follow", "measure")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """So that the same steps give the same bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sentence(drawn: random.Random) -> str:
    """A dozen words."""
    one, two = drawn.sample(_NOUNS, 2)
    return f"I {drawn.choice(_VERBS)} the {one} and then we {drawn.choice(_VERBS)} the {two} near the old house."


def paragraph(drawn: random.Random, count: int = 4) -> str:
    """Sentences in a line."""
    return " ".join(sentence(drawn) for _ in range(count))


def essay(drawn: random.Random, number: int) -> str:
    """A title, and paragraphs under it."""
    noun = drawn.choice(_NOUNS)
    return f"On the {noun} number {number}\n\n" + "\n\n".join(paragraph(drawn) for _ in range(3))


def dialogue(drawn: random.Random) -> str:
    """Two turns each."""
    lines = [f"{who}: {sentence(drawn)}" for who in ("User", "Assistant", "User", "Assistant")]
    return "\n".join(lines)


def transcript(drawn: random.Random) -> str:
    """A question and its answer."""
    asked = f"Do you still {drawn.choice(_VERBS)} the {drawn.choice(_NOUNS)}?"
    return f"Ann Lee: {asked}\n\nBob Ray: {paragraph(drawn, 3)}"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sources, 460 documents: two of them are held out."""
    folder, drawn = tmp_path_factory.mktemp("corpus"), random.Random(0)
    sources = {
        "open_prose": [essay(drawn, number) for number in range(200)],
        "dialogues": [dialogue(drawn) for _ in range(160)],
        "changelog": [transcript(drawn) for _ in range(100)],
    }
    for name, texts in sources.items():
        with lzma.open(folder / f"{name}.txt.xz", "wt", encoding="utf-8") as out:
            out.write(f"\n{SEPARATOR}\n".join(texts))
    return folder


@pytest.fixture(scope="session")
def tokenizer(corpus: Path) -> Tokenizer:
    """Of 400 tokens."""
    return fit_tokenizer(documents_in(corpus), SHAPE.vocabulary)


@pytest.fixture(scope="session")
def tokens(corpus: Path, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus as token files."""
    folder = tmp_path_factory.mktemp("tokens")
    write_tokens(documents_in(corpus), tokenizer, folder)
    return folder
