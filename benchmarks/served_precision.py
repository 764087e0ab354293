"""`python -m benchmarks.served_precision --authors FILE …`: whether numbers of 16 bits do a voice harm.

Per author: a prefix is trained as a worker does it, and stored as it is published (float16). The author's last 12 texts
are then judged with and without it by the model in float32, in bfloat16 as processors and accelerators serve it, and
by the float32 model with the prefix rounded to bfloat16, and to 8 bits with a scale for each head of each layer.
`reduction_pct`: how many percent fewer bits per character the prefix leaves, medians over authors; `lost_points`: by
how many points float32's is more. Progress on stderr; the last line on stdout is one JSON object.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.authors import MOST_TRAINING_TEXTS, Author, author_options, between, read_authors
from benchmarks.statistics import interval, median
from tuning.base_model import BaseModel, load_base_model
from tuning.config import TuningConfig
from tuning.evaluation import bits_per_char, reduction_pct
from tuning.population import load_population
from tuning.prefix import Prefix
from tuning.trainer import TrainingJob, TrainingSettings, train_alone

WHOLE = "float32"
KINDS = (WHOLE, "bfloat16", "bfloat16_prefix", "int8_prefix")


def measure(
    exact: BaseModel, rounded: BaseModel, settings: TrainingSettings, start: Prefix | None, author: Author, samples: int
) -> dict[str, float]:
    """One author's reduction by kind, in percent. exact, rounded: the same model in float32 and in bfloat16."""
    split = author.split(exact, samples, settings.num_virtual_tokens)
    data = train_alone(exact, TrainingJob(split, start=start), settings).prefix.to_bytes()
    stored = exact.read_prefix(data)
    judged = {
        WHOLE: (exact, stored),
        "bfloat16": (rounded, rounded.read_prefix(data)),
        "bfloat16_prefix": (exact, stored.to(dtype=torch.bfloat16).to(dtype=exact.dtype)),
        "int8_prefix": (exact, in_eight_bits(stored)),
    }
    without = {base: bits_per_char(base, None, split.test) for base in (exact, rounded)}
    return {
        kind: reduction_pct(without[base], bits_per_char(base, prefix, split.test))
        for kind, (base, prefix) in judged.items()
    }


def in_eight_bits(prefix: Prefix) -> Prefix:
    """The same with each number rounded to one of 255 multiples of its head's largest."""

    def rounded(tensor: Tensor) -> Tensor:
        scale = tensor.abs().amax(dim=(1, 2), keepdim=True) / 127  # [heads, 1, 1]
        return torch.round(tensor / scale) * scale

    return replace(prefix, keys=tuple(map(rounded, prefix.keys)), values=tuple(map(rounded, prefix.values)))


def told(found: Sequence[dict[str, float]]) -> dict[str, object]:
    """Medians over authors, and how sure they are."""
    lost = {kind: [of[WHOLE] - of[kind] for of in found] for kind in KINDS if kind != WHOLE}
    return {
        "reduction_pct": {kind: median([of[kind] for of in found]) for kind in KINDS},
        "lost_points": {kind: median(of) for kind, of in lost.items()},
        "lost_points_interval": {kind: interval(of) for kind, of in lost.items()},
        "authors": len(found),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure author after author."""
    parser = author_options(__doc__, 12)
    parser.add_argument("--samples", type=between(1, MOST_TRAINING_TEXTS), default=20, help="texts to train on")
    options = parser.parse_args(arguments)
    config = replace(TuningConfig.from_env(), dtype="float32")
    exact, rounded = load_base_model(config), load_base_model(replace(config, dtype="bfloat16"))
    settings, start = TrainingSettings.from_config(config), load_population(config, exact)
    found = []
    for author in read_authors(options.authors, options.limit, options.skip):
        found.append(measure(exact, rounded, settings, start, author, options.samples))
        shown = ", ".join(f"{kind} {value:.3f}" for kind, value in found[-1].items())
        print(f"{author.name}: {shown}", file=sys.stderr, flush=True)
    print(json.dumps(told(found)))


if __name__ == "__main__":
    main()
