"""`python -m benchmarks.likeness --authors FILE …`: how much closer to each author, method by method.

Progress on stderr; goes on where it was interrupted; the last line on stdout is one JSON object.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import peft
import torch

from benchmarks import peers
from benchmarks.authors import MOST_TRAINING_TEXTS, Author, author_options, between, read_authors
from benchmarks.journal import Journal
from benchmarks.methods import METHODS, RANKED, Workshop, measure
from benchmarks.statistics import interval, median, wins
from tuning.base_model import load_base_model
from tuning.config import TuningConfig
from tuning.dataset import Block, Split
from tuning.evaluation import bits_per_char, cross_user_losses, rank1, reduction_pct
from tuning.neutral import neutral_blocks
from tuning.population import SETTINGS as POPULATION
from tuning.population import load_population
from tuning.precision import multiplies_bfloat16
from tuning.prefix import Prefix
from tuning.public_texts import Source, read_texts
from tuning.trainer import TrainingSettings

Row = dict[str, Any]


class Likeness:
    """All measurements of one call, each made once."""

    def __init__(self, shop: Workshop, journal: Journal, folder: Path, authors: Sequence[Author]) -> None:
        self._shop, self._journal, self._folder, self._authors = shop, journal, folder, authors
        self._arithmetic = [str(shop.base.dtype), multiplies_bfloat16()]

    def table(self, num_samples: int, methods: Sequence[str]) -> Row:
        """The figures of one number of samples."""
        rows = {method: [self._row(author, num_samples, method) for author in self._authors] for method in methods}
        base = [self._row(author, num_samples, "base") for author in self._authors]
        gains = {method: [_gain(row, bare) for row, bare in zip(rows[method], base, strict=True)] for method in methods}
        ours = gains.get("ours", [])
        return {
            "authors": len(self._authors),
            "improved": sum(gain > 0 for gain in ours),
            "median_reduction_pct": {method: median(figures) for method, figures in gains.items()},
            "interval_95": {method: interval(figures) for method, figures in gains.items()},
            "improved_by": {method: sum(gain > 0 for gain in figures) for method, figures in gains.items()},
            "wins": {method: wins(ours, figures) for method, figures in gains.items() if ours and method != "ours"},
            "rank1": {method: self._rank1(rows[method], num_samples) for method in methods if method in RANKED},
            "retention": {method: median([_rise(row, base[0]) for row in rows[method]]) for method in methods},
            "seconds": {method: median([row["seconds"] for row in rows[method]]) for method in methods},
            "bytes": {method: median([row["num_bytes"] for row in rows[method]]) for method in methods},
            "best_step": {method: median([row["best_step"] for row in rows[method]]) for method in methods},
            "reductions_pct": {method: [round(gain, 3) for gain in figures] for method, figures in gains.items()},
        }

    def _row(self, author: Author, num_samples: int, method: str) -> Row:
        shop = self._shop
        split = author.split(shop.base, num_samples, shop.settings.num_virtual_tokens)
        starts = {"ours": shop.population, "population": shop.population}
        key = {
            "base": shop.base.fingerprint,
            "arithmetic": self._arithmetic,
            "author": author.name,
            "samples": num_samples,
            "blocks": _hash(split.test if method == "base" else split),
            "neutral": _hash(shop.neutral),
            "method": method,
            "seed": shop.seed,
            "settings": _settings(shop, method),
            "grid": _grid(shop, method),
            "versions": [torch.__version__, peft.__version__] if _grid(shop, method) else [torch.__version__],
            "start": _digest(starts.get(method)),
            "lora_start": _hash_of_state(shop.lora_start) if method == "lora_population" else "",
        }
        return self._journal.once(key, partial(self._measured, split, method, f"{author.name}, {num_samples} samples"))

    def _measured(self, split: Split, method: str, whose: str) -> Row:
        shop = self._shop
        if method == "base":
            bare, neutral = (bits_per_char(shop.base, None, blocks) for blocks in (split.test, shop.neutral))
            return {"bits_per_char": bare, "neutral_bits_per_char": neutral}
        outcome = measure(shop, method, split)
        row = asdict(outcome) | {"prefix": None}
        if outcome.prefix is not None:
            row["prefix"] = hashlib.sha256(outcome.prefix).hexdigest()
            (self._folder / f"{row['prefix']}.safetensors").write_bytes(outcome.prefix)
        print(f"{whose}, {method}: {row}", file=sys.stderr, flush=True)
        return row

    def _rank1(self, rows: Sequence[Row], num_samples: int) -> float:
        """The share of authors whose own prefix, of all, makes their test texts the easiest to predict."""
        prefixes = [self._kept(row["prefix"]) for row in rows]
        matrix: list[list[float]] = []
        for author in self._authors:
            key = {
                "rank": [row["prefix"] for row in rows],
                "author": author.name,
                "blocks": _hash(self._test(author, num_samples)),
                "base": self._shop.base.fingerprint,
                "arithmetic": self._arithmetic,
            }
            found = self._journal.once(key, partial(self._losses, author, num_samples, prefixes))
            matrix.append(found["losses"])
        return round(rank1(matrix), 3)

    def _losses(self, author: Author, num_samples: int, prefixes: Sequence[Prefix]) -> Row:
        (losses,) = cross_user_losses(self._shop.base, prefixes, [self._test(author, num_samples)])
        return {"losses": losses}

    def _test(self, author: Author, num_samples: int) -> Sequence[Block]:
        return author.split(self._shop.base, num_samples, self._shop.settings.num_virtual_tokens).test

    def _kept(self, digest: str) -> Prefix:
        return self._shop.base.read_prefix((self._folder / f"{digest}.safetensors").read_bytes())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON object."""
    options = _options(arguments)
    config = TuningConfig.from_env()
    options.state.mkdir(parents=True, exist_ok=True)
    base = load_base_model(config)
    settings = TrainingSettings.from_config(config)
    population = load_population(config, base)
    methods = _methods(options, population)
    lora_start = None
    if "lora_population" in methods:
        texts = read_texts(options.population_texts, options.seed)
        whole = replace(POPULATION, num_virtual_tokens=config.num_virtual_tokens)
        lora_start = peers.population_lora(base, texts, whole, options.state)
    shop = Workshop(
        base, settings, population, lora_start, neutral_blocks(base, config.num_virtual_tokens), options.seed
    )
    authors = read_authors(options.authors, options.limit, options.skip)
    likeness = Likeness(shop, Journal(options.state / "likeness.jsonl"), options.state, authors)
    tables = {str(number): likeness.table(number, methods) for number in options.samples}
    grids = {method: grid for method in methods if (grid := _grid(shop, method))}
    configuration = _configuration(shop, options) | {"grids": grids}
    print(json.dumps(tables | {"configuration": configuration}))


def _methods(options: argparse.Namespace, population: Prefix | None) -> list[str]:
    """Those asked for. One that has nothing to start from is left out, and said, where it stands there by default."""
    methods: list[str] = (options.methods or ",".join(METHODS)).split(",")
    if unknown := set(methods) - set(METHODS):
        sys.exit(f"likeness: no method is called {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    missing = {
        "population": "" if population else "this base model has no population prefix",
        "lora_population": "" if options.population_texts else "--population-texts names no texts",
    }
    for method, why in missing.items():
        if why and method in methods:
            if options.methods:
                sys.exit(f"likeness: {method} can't be measured: {why}")
            print(f"{method} is left out: {why}", file=sys.stderr)
            methods.remove(method)
    return methods


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = author_options(__doc__, limit=12)
    parser.add_argument("--samples", type=_numbers, default=[20], help="numbers of training texts, with commas")
    parser.add_argument("--methods", default="", help=f"with commas; all of {', '.join(METHODS)} unless given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--state", type=Path, default=Path(".benchmarks"), help="where results and fits are kept (.benchmarks)"
    )
    parser.add_argument("--population-texts", type=Source.of, nargs="*", default=[], help="for lora_population")
    return parser.parse_args(arguments)


def _numbers(given: str) -> list[int]:
    return [between(1, MOST_TRAINING_TEXTS)(number) for number in given.split(",")]


def _configuration(shop: Workshop, options: argparse.Namespace) -> Row:
    base, settings = shop.base, shop.settings
    return {
        "base_model": base.name,
        "fingerprint": base.fingerprint,
        "dtype": str(base.dtype),
        "population": _digest(shop.population),
        "settings": asdict(settings),
        "seed": options.seed,
        "skip": options.skip,
        "training": f"ours: {_course(settings)}; every trained peer: {_course(peers.allowed(settings))}; a peer's "
        "seconds are those of its whole grid",
    }


def _course(settings: TrainingSettings) -> str:
    return (
        f"{settings.epochs} epochs, {settings.min_steps} to {settings.max_steps} steps of at most "
        f"{settings.tokens_per_step} tokens"
    )


def _settings(shop: Workshop, method: str) -> Row:
    """What a row depends on. The peers' recipe follows ours."""
    if method in ("base", "population", "in_context"):
        return {}
    return asdict(shop.settings) if method == "ours" else peers.recipe(peers.allowed(shop.settings))


def _grid(shop: Workshop, method: str) -> list[str]:
    """The settings that a peer is tried with, and keeps the best of."""
    grids = peers.grids(shop.settings.num_virtual_tokens, shop.lora_start)
    return [setting.name for setting in grids.get(method, [])]


def _digest(prefix: Prefix | None) -> str:
    return prefix.digest if prefix is not None else ""


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def _hash_of_state(state: peers.State | None) -> str:
    return _hash([(name, tensor.tolist()) for name, tensor in sorted((state or {}).items())])


def _gain(row: Row, bare: Row) -> float:
    return reduction_pct(float(bare["bits_per_char"]), float(row["bits_per_char"]))


def _rise(row: Row, bare: Row) -> float:
    return 100 * (float(row["neutral_bits_per_char"]) / float(bare["neutral_bits_per_char"]) - 1)


if __name__ == "__main__":
    main()
