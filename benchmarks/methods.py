"""One author, one method, one figure set: the product's own recipe and its peers under one interface. Owns what a
measurement consists of; knows nothing of files, medians or the order of work."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks import peers
from tuning.base_model import BaseModel
from tuning.dataset import Block, Split
from tuning.evaluation import bits_per_char
from tuning.in_context import in_context_bits_per_char
from tuning.prefix import Prefix
from tuning.trainer import TrainingJob, TrainingSettings, train_alone

METHODS = ("ours", "population", "in_context", "peft_prompt", "peft_prefix", "lora", "lora_population", "full")
RANKED = ("ours", "peft_prefix")  # whose fits are kept, to be tried on every other author


@dataclass(frozen=True, eq=False)
class Workshop:
    """What every measurement shares. population: where ours starts from, None for the neutral start. lora_start: a
    LoRA trained on the population's texts. neutral: blocks of the fixed neutral text."""

    base: BaseModel
    settings: TrainingSettings
    population: Prefix | None
    lora_start: peers.State | None
    neutral: Sequence[Block]
    seed: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """bits_per_char: of the author's test texts, and of the neutral text. seconds: of processor time, the whole grid
    included. setting: the winner of the grid. prefix: kept for ranking."""

    bits_per_char: float
    neutral_bits_per_char: float
    seconds: float
    num_bytes: int
    setting: str
    best_step: int
    prefix: bytes | None = None


def measure(shop: Workshop, method: str, split: Split) -> Outcome:
    """Fit one author by `method`, on nothing but the training and early-stopping blocks, and judge it."""
    if method == "ours":
        return _ours(shop, split)
    if method == "population":
        return _population(shop, split)
    if method == "in_context":
        bits, neutral = (
            in_context_bits_per_char(shop.base, split.train, blocks) for blocks in (split.test, shop.neutral)
        )
        return Outcome(bits, neutral, 0.0, 0, "", 0)
    return _peer(shop, method, split)


def _ours(shop: Workshop, split: Split) -> Outcome:
    began = time.process_time()
    job = TrainingJob(split, seed=shop.seed, start=shop.population)
    result = train_alone(shop.base, job, shop.settings)
    seconds = time.process_time() - began
    data = result.prefix.to_bytes()
    stored = shop.base.read_prefix(data)
    return replace(_judged(shop, stored, split), seconds=seconds, best_step=result.best_step, prefix=data)


def _population(shop: Workshop, split: Split) -> Outcome:
    assert shop.population is not None  # the command asks first
    return _judged(shop, shop.population.to(dtype=shop.base.dtype), split)


def _judged(shop: Workshop, prefix: Prefix, split: Split) -> Outcome:
    test, neutral = (bits_per_char(shop.base, prefix, blocks) for blocks in (split.test, shop.neutral))
    return Outcome(test, neutral, 0.0, len(prefix.to_bytes()), "", 0)


def _peer(shop: Workshop, method: str, split: Split) -> Outcome:
    grid = peers.grids(shop.settings.num_virtual_tokens, shop.lora_start)[method]
    fitted = peers.fit(shop.base, grid, split.train, split.stop, peers.allowed(shop.settings), shop.seed)
    model = fitted.model(shop.base, split.train)
    prefix = peers.as_prefix(model, shop.base).to_bytes() if method == "peft_prefix" else None
    return Outcome(
        bits_per_char=peers.bits_per_char(model, split.test),
        neutral_bits_per_char=peers.bits_per_char(model, shop.neutral),
        seconds=fitted.seconds,
        num_bytes=fitted.num_bytes if prefix is None else len(prefix),  # its MLP need not be kept
        setting=fitted.setting.name,
        best_step=fitted.best_step,
        prefix=prefix,
    )
