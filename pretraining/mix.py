"""The data mix: which share of each source's documents is trained on. Owns the shares and the drawing; knows no
tokenizer and no model."""

import lzma
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from pretraining.corpus import SEPARATOR, read_pieces, source_files, source_name
from pretraining.errors import CorpusUnusable

# All of what people write and say, and parts of encyclopaedias, offices and the larger collection of old novels: what
# is to be personalised is how people write.
SHARES: Mapping[str, float] = {
    "open_prose": 1.0,
    "org_blogs": 1.0,
    "changelog": 1.0,
    "dialogues": 1.0,
    "classic_books": 1.0,
    "eltec_novels": 0.7,
    "wikipedia": 0.6,
    "digitalgov": 0.5,
}
_QUICK = 0  # of xz's presets: the mixed folder is read a few times and thrown away


def draw(source: str, pieces: Sequence[str], share: float) -> list[str]:
    """About this share of the pieces, in their order; for one source and share always the same ones."""
    drawn = random.Random(source)
    return [piece for piece in pieces if drawn.random() < share]


def write_mix(corpus: Path, out: Path, shares: Mapping[str, float] = SHARES) -> dict[str, dict[str, float]]:
    """Write the drawn documents of every source to a folder of the same form, and say how much of each there is.

    Raises CorpusUnusable for a source without a share.
    """
    files = source_files(corpus)
    if unknown := [source_name(path) for path in files if source_name(path) not in shares]:
        raise CorpusUnusable(f"No share is set for {', '.join(unknown)}: give --share {unknown[0]}=1.0")
    out.mkdir(parents=True, exist_ok=True)
    return {source_name(path): _write(path, out / path.name, shares[source_name(path)]) for path in files}


def _write(path: Path, out: Path, share: float) -> dict[str, float]:
    pieces = read_pieces(path)
    kept = draw(source_name(path), pieces, share)
    with lzma.open(out, "wt", encoding="utf-8", preset=_QUICK) as target:
        target.write(SEPARATOR.join(kept))
    return {"share": share, "documents": len(pieces), "kept": len(kept), "characters": sum(map(len, kept))}
