"""What a prefix is worth on text it never saw: bits per character with and without it, whose prefix fits whose text,
and the decision to publish. Knows nothing of how the prefix was trained, nor of runs and versions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tuning.base_model import BaseModel
from tuning.dataset import TRAIN_BLOCK_TOKENS, Block, Split, num_tokens
from tuning.lanes import side_by_side
from tuning.prefix import Prefix
from tuning.scoring import Pass, pass_losses, passes, windowed_losses
from tuning.training import TrainingResult

_LOGITS_AT_ONCE = {"cpu": 2**22, "cuda": 2**27}  # of one pass, 16 and 512 MiB in float32, whatever the vocabulary
_FEWER_LOGITS = 2**25  # on other devices
_MOST_LOGITS = 2**24  # of all passes side by side, where one of them alone may be more: no more than a step's


@dataclass(frozen=True, eq=False)
class Verdict:
    """data: the prefix as it would be published, the very bytes that were judged. reason: for a person, why it is not
    published and what would help; None when it is. figures: the run's figures, plain JSON."""

    data: bytes
    publish: bool
    reason: str | None
    figures: dict[str, Any]


def bits_per_char(base: BaseModel, prefix: Prefix | None, blocks: Sequence[Block]) -> float:
    """Bits per character of the scored text of `blocks`: of the bare base model, or behind `prefix`. Exactly the same
    tokens count either way."""
    return _bits(base, None if prefix is None else [prefix], [blocks])[0]


def bits_per_char_each(base: BaseModel, owned: Sequence[tuple[Prefix, Sequence[Block]]]) -> list[float]:
    """As bits_per_char for several people's prefixes of one length, each on their own blocks, in common passes."""
    return _bits(base, [prefix for prefix, _ in owned], [blocks for _, blocks in owned])


def _bits(base: BaseModel, prefixes: Sequence[Prefix] | None, owned: Sequence[Sequence[Block]]) -> list[float]:
    layers = None if prefixes is None else [list(zip(prefix.keys, prefix.values, strict=True)) for prefix in prefixes]

    vocabulary = base.model.get_input_embeddings().num_embeddings
    at_once = max(1, _LOGITS_AT_ONCE.get(base.device.type, _FEWER_LOGITS) // vocabulary)
    window = max(at_once, TRAIN_BLOCK_TOKENS)  # of a longer block; what training needs room for anyway

    def run(one: Pass) -> list[tuple[int, float]]:
        with torch.no_grad():
            if len(one.blocks[0].token_ids) > window:  # alone in its pass, since it is longer than at_once
                (block,), (owner,) = one.blocks, one.owners
                losses = windowed_losses(base, block, layers[owner] if layers else None, window)
            else:
                losses = pass_losses(base, one, layers)
        return list(zip(one.owners, losses.double().tolist(), strict=True))

    nats = [0.0] * len(owned)
    packed = passes(owned, at_once)
    most = max(1, _MOST_LOGITS // (window * vocabulary))
    for losses in side_by_side(base.device, run, packed, most=most):
        for owner, loss in losses:
            nats[owner] += loss
    return [
        own / math.log(2) / sum(block.num_chars for block in blocks) for own, blocks in zip(nats, owned, strict=True)
    ]


def cross_user_losses(
    base: BaseModel, prefixes: Sequence[Prefix], blocks_by_author: Sequence[Sequence[Block]]
) -> list[list[float]]:
    """Bits per character of every author's blocks behind every prefix, [authors][prefixes]. For measurements over
    public authors; the platform itself never scores one person's text behind another's prefix."""
    return [[bits_per_char(base, prefix, blocks) for prefix in prefixes] for blocks in blocks_by_author]


def rank1(matrix: Sequence[Sequence[float]]) -> float:
    """The share of authors whose own prefix, the one of their row's number, makes their text easier to predict than
    each other prefix does. A tie counts against it."""
    first = [min([*row[:own], *row[own + 1 :]], default=math.inf) > row[own] for own, row in enumerate(matrix)]
    return sum(first) / len(matrix)


def reduction_pct(base_loss: float, voice_loss: float) -> float:
    """By how many percent fewer bits the voice needs than the base model; negative: more."""
    return 100 * (1 - voice_loss / base_loss)


def judge(
    base: BaseModel,
    split: Split,
    result: TrainingResult,
    population: Prefix | None = None,
    current: Prefix | None = None,
) -> Verdict:
    """Do no harm: publish only what beats the base model, the population prefix, and the voice's own version that the
    training went on from, on the newest fifth, on which nothing was trained or chosen. A starting point is never
    published as somebody's voice, nor is what could not be measured: a loss that is no finite number beats nothing,
    and is beaten by nothing.

    Raises InvalidPrefix when training diverged to values that cannot be stored.
    """
    data = result.prefix.to_bytes()
    stored = base.read_prefix(data)
    voice_loss = bits_per_char(base, stored, split.test)
    rivals = {"base": bits_per_char(base, None, split.test)}
    for name, prefix in (("population", population), ("current", current)):
        if prefix is not None:
            rivals[name] = bits_per_char(base, prefix.to(dtype=base.dtype), split.test)
    reason = _reason(split, voice_loss, rivals)
    figures: dict[str, Any] = {
        "samples": split.num_samples,
        "test_samples": split.num_test_samples,
        "train_tokens": num_tokens(split.train),
        "stop_tokens": num_tokens(split.stop),
        "test_tokens": num_tokens(split.test),
        "voice_bits_per_char": voice_loss,
        "reduction_pct": reduction_pct(rivals["base"], voice_loss),
        "train_seconds": result.seconds,
        "prefix_bytes": len(data),
        "num_virtual_tokens": stored.num_virtual_tokens,
        "steps": result.steps,
        "best_step": result.best_step,
    }
    figures |= {f"{name}_bits_per_char": loss for name, loss in rivals.items()}
    return Verdict(data, reason is None, reason, figures | {"reason": reason} if reason else figures)


_RIVALS = {"base": "the base model", "population": "the shared starting point", "current": "the version in use"}
_UNMEASURED = (
    "How close the trained voice is to you could not be measured: no usable numbers came out. So it was not put to "
    "use. Ask for the training again; should it repeat, tell whoever runs this platform."
)


def _reason(split: Split, voice_loss: float, rivals: Mapping[str, float]) -> str | None:
    """Why it is not published, None when it may be."""
    if not all(math.isfinite(loss) for loss in (voice_loss, *rivals.values())):
        return _UNMEASURED
    ahead = [name for name, loss in rivals.items() if not voice_loss < loss]
    return _no_closer(split, ahead[0]) if ahead else None


def _no_closer(split: Split, rival: str) -> str:
    return (
        "On the newest part of your writing, which it had not seen, the trained voice was no closer to you than "
        f"{_RIVALS[rival]}, so it was not put to use. It had {split.num_samples} pieces; more pieces help most, above "
        "all recent ones of the kind you want it to write."
    )
