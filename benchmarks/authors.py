"""Authors of a JSON Lines file as the benchmarks split them: the newest texts judge, those just before them train. Owns
the split rule; knows no method, and never writes a word of anybody's text anywhere."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuning.base_model import BaseModel
from tuning.dataset import NOTHING_EARLIER, Earlier, Split, WrittenText, split_before

TEST_TEXTS = 12
MOST_TRAINING_TEXTS = 40


@dataclass(frozen=True)
class Author:
    """texts: oldest first, in file order."""

    name: str
    texts: tuple[str, ...]

    def training(self, num_samples: int) -> list[WrittenText]:
        """The `num_samples` texts before the last TEST_TEXTS."""
        own = self.texts[-TEST_TEXTS - num_samples : -TEST_TEXTS]
        return [WrittenText(text, id=f"{self.name}-{len(own) - number}") for number, text in enumerate(own)]

    def split(
        self, base: BaseModel, num_samples: int, num_virtual_tokens: int, earlier: Earlier = NOTHING_EARLIER
    ) -> Split:
        """The last TEST_TEXTS judge; the `num_samples` before them are for training and early stopping, what a
        prefix to go on from was trained on for training alone."""
        test = [WrittenText(text) for text in self.texts[-TEST_TEXTS:]]
        return split_before(
            base,
            self.training(num_samples),
            test,
            num_virtual_tokens=num_virtual_tokens,
            earlier=earlier,
        )


def author_options(says: str | None, limit: int) -> argparse.ArgumentParser:
    """A command line that says which authors are measured. limit: how many unless told."""
    parser = argparse.ArgumentParser(description=says, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--authors", type=Path, required=True, help="JSON Lines with author and text, an author's in order"
    )
    parser.add_argument("--limit", type=between(1), default=limit, help="how many authors")
    parser.add_argument("--skip", type=between(0), default=0, help="leave out the first so many: for choosing a recipe")
    return parser


def between(least: int, most: int | None = None) -> Callable[[str], int]:
    """An option's type: a whole number within bounds."""

    def number(given: str) -> int:
        value = int(given)
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(
                f"{value} is not at least {least}" + (f" and at most {most}" if most is not None else "")
            )
        return value

    return number


def read_authors(path: Path, limit: int, skip: int = 0) -> Sequence[Author]:
    """Authors `skip` to `skip + limit` in file order of those with enough texts for every setting.

    Ends the command with one line when the file has fewer.
    """
    enough = every_author(path)
    if len(enough) < skip + limit:
        sys.exit(
            f"{path} has {len(enough)} authors with at least {TEST_TEXTS + MOST_TRAINING_TEXTS} texts, "
            f"too few for --skip {skip} --limit {limit}"
        )
    return enough[skip : skip + limit]


def every_author(path: Path) -> list[Author]:
    """All with enough texts for every setting, in file order. Ends the command with one line where the file is not one
    of authors."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as wrong:
        sys.exit(f"--authors {path} can't be read: {wrong}")
    texts: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            author, text = _author_and_text(line, f"{path}, line {number}")
            texts.setdefault(author, []).append(text)
    least = TEST_TEXTS + MOST_TRAINING_TEXTS
    return [Author(name, tuple(own)) for name, own in texts.items() if len(own) >= least]


def _author_and_text(line: str, where: str) -> tuple[str, str]:
    try:
        row = json.loads(line)
        return str(row["author"]), str(row["text"])
    except (ValueError, KeyError, TypeError):
        sys.exit(f'{where}: each line must be an object such as {{"author": "…", "text": "…"}}')
