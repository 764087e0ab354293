"""`python -m benchmarks.few_pieces --authors FILE …`: does a voice trained on three pieces ever do harm?

Per author: three samples through the product's own rule, which splits inside them and publishes or does not; what is
published is then measured on the author's last 12 texts, of which nothing knew. Progress on stderr; the last line on
stdout is one JSON object. `harmed` counts published voices that are worse than the base model there.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.authors import MOST_TRAINING_TEXTS, Author, author_options, between, read_authors
from benchmarks.statistics import median
from tuning.base_model import BaseModel, load_base_model
from tuning.config import TuningConfig
from tuning.dataset import build_split
from tuning.errors import TooLittleText
from tuning.evaluation import bits_per_char, judge, reduction_pct
from tuning.population import load_population
from tuning.prefix import Prefix
from tuning.trainer import TrainingJob, TrainingSettings, train_alone


def measure(
    base: BaseModel, settings: TrainingSettings, population: Prefix | None, author: Author, num_samples: int
) -> dict[str, Any]:
    """One author. published: by the product's rule; reduction_pct: on the last 12 texts, published or not."""
    later = author.split(base, num_samples, settings.num_virtual_tokens).test
    try:
        split = build_split(base, author.training(num_samples), num_virtual_tokens=settings.num_virtual_tokens)
    except TooLittleText:
        return {"author": author.name, "published": False, "refused": True}
    result = train_alone(base, TrainingJob(split, start=population), settings)
    verdict = judge(base, split, result, population)
    stored = base.read_prefix(verdict.data)
    bare, voice = (bits_per_char(base, one, later) for one in (None, stored))
    return {
        "author": author.name,
        "published": verdict.publish,
        "judged_reduction_pct": round(float(verdict.figures["reduction_pct"]), 3),
        "reduction_pct": round(reduction_pct(bare, voice), 3),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON object."""
    options = _options(arguments)
    config = TuningConfig.from_env()
    base, settings = load_base_model(config), TrainingSettings.from_config(config)
    population = load_population(config, base)
    rows = []
    for author in read_authors(options.authors, options.limit, options.skip):
        rows.append(measure(base, settings, population, author, options.samples))
        print(rows[-1], file=sys.stderr, flush=True)
    published = [row["reduction_pct"] for row in rows if row["published"]]
    summary = {
        "authors": len(rows),
        "published": len(published),
        "harmed": sum(gain <= 0 for gain in published),
        "median_reduction_pct_of_published": median(published) if published else None,
        "rows": rows,
        "configuration": {
            "samples": options.samples,
            "skip": options.skip,
            "base_model": base.name,
            "fingerprint": base.fingerprint,
            "population": population.digest if population else "",
            "settings": asdict(settings),
        },
    }
    print(json.dumps(summary))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = author_options(__doc__, limit=12)
    parser.add_argument("--samples", type=between(1, MOST_TRAINING_TEXTS), default=3, help="how many pieces")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
