"""Rehearsal: a population prefix made to be adapted. Over and over a few public writers are trained from it for some
steps, as people are but for the tenth that these lose again; it then moves to where these prefixes would have done
better on what they had not seen of the same writers (first-order MAML, Finn et al. 2017). So it learns where to start
from, not whom to sound like.

Owns that loop; the steps of those who rehearse are everybody's. Knows nothing of files, people or runs.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tuning.base_model import BaseModel
from tuning.dataset import Block, text_blocks
from tuning.errors import ConfigurationError, TooLittleText
from tuning.evaluation import bits_per_char, bits_per_char_each, reduction_pct
from tuning.prefix import Prefix
from tuning.prefix_encoder import PrefixEncoder, encoded_together, training_dtype
from tuning.trainee import Trainee
from tuning.training import TrainingSettings
from tuning.training_step import StepPlan, loss_gradients, train_step

_PIECES_PER_HELD_OUT = 4  # a quarter of a writer's pieces are held out, the last ones
_LEAST_HELD_OUT = 2
_TRAINING = TrainingSettings(warmup_steps=3, tokens_per_step=1024, offset_kept=1.0)  # of a writer, for few steps
_LOOKS = 4  # over the whole course, beside the one before it


@dataclass(frozen=True)
class PublicWriter:
    """Somebody of whom several pieces are public: trained on some, measured on the others."""

    train: tuple[Block, ...]
    held_out: tuple[Block, ...]


@dataclass(frozen=True)
class RehearsalSettings:
    """writers: trained from one start, then it moves once. training: of each of them, `steps` steps. learning_rate: of
    the start, in units of the spread of its keys and values, after a rise over `warmup`. clip_norm: of one writer's
    pull on the start. looked_at: writers who are never trained from, to tell how far it is.
    """

    writers: int = 16
    steps: int = 12
    learning_rate: float = 0.06
    warmup: int = 10
    clip_norm: float = 3.0
    looked_at: int = 48
    training: TrainingSettings = _TRAINING


def public_writers(base: BaseModel, pieces: Sequence[Sequence[str]], num_virtual_tokens: int) -> list[PublicWriter]:
    """One for each list of pieces; of each piece its first block."""
    made = []
    for own in pieces:
        blocks = [
            block for piece in own for block in text_blocks(base, piece, num_virtual_tokens=num_virtual_tokens)[:1]
        ]
        kept = len(blocks) - max(_LEAST_HELD_OUT, len(blocks) // _PIECES_PER_HELD_OUT)
        made.append(PublicWriter(tuple(blocks[:kept]), tuple(blocks[kept:])))
    return made


def require_writers(writers: Sequence[PublicWriter], settings: RehearsalSettings) -> None:
    """Raises TooLittleText where there are not enough for rehearsals."""
    needed = settings.looked_at + settings.writers
    if len(writers) < needed:
        raise TooLittleText(f"{len(writers)} writers are too few; rehearsals need at least {needed}.")


def rehearse(
    base: BaseModel,
    start: Prefix,
    writers: Sequence[PublicWriter],
    rehearsals: int,
    settings: RehearsalSettings,
    *,
    plan: StepPlan | None = None,
    seed: int = 0,
    on_look: Callable[[int, float], None] | None = None,
) -> Prefix:
    """The start after so many rehearsals, or where it did best on the writers looked at; in the training's precision.

    on_look(rehearsal, gain): by how many per cent fewer bits those need after a training from there than from the base
        model, in the mean.

    Raises TooLittleText where there are not enough writers, ConfigurationError where no training gives usable numbers.
    """
    require_writers(writers, settings)
    looked_at, pool = writers[: settings.looked_at], writers[settings.looked_at :]
    plan, drawn = plan or StepPlan(), random.Random(seed)
    start = start.to(base.device, training_dtype(base))
    bare = [bits_per_char(base, None, writer.held_out) for writer in looked_at]

    def look(now: Prefix, rehearsal: int) -> float:
        losses = _unseen_losses(base, now, looked_at, settings, plan)
        gains = [reduction_pct(before, loss) for before, loss in zip(bare, losses, strict=True)]
        gain = sum(gains) / len(gains)
        if on_look:
            on_look(rehearsal, gain)
        return gain

    shared = PrefixEncoder(start, "direct", hidden=1, seed=seed)
    optimizer = torch.optim.Adam(shared.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98))
    best, best_gain, between_looks = start, look(start, 0), math.ceil(rehearsals / _LOOKS)
    if not math.isfinite(best_gain):
        raise ConfigurationError(
            f"No training from this prefix gives usable numbers in {base.dtype}; set IDIOLECT_DTYPE to another type."
        )
    for rehearsal in range(rehearsals):
        asked = drawn.sample(pool, settings.writers)
        shared.offset.grad = _pull(base, shared.prefix(), asked, settings, plan, rehearsal, shared.scale)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (rehearsal + 1) / settings.warmup)
        optimizer.step()
        if (rehearsal + 1) % between_looks == 0 or rehearsal + 1 == rehearsals:
            now = shared.prefix()
            gain = look(now, rehearsal + 1)
            best, best_gain = (now, gain) if gain > best_gain else (best, best_gain)
    return best


def _trained(
    base: BaseModel,
    start: Prefix,
    writers: Sequence[PublicWriter],
    settings: RehearsalSettings,
    plan: StepPlan,
    seed: int,
) -> list[PrefixEncoder]:
    """Everybody's encoder after a training of their own."""
    together = [
        Trainee(start, writer.train, settings.training, max_steps=settings.steps, seed=seed * len(writers) + place)
        for place, writer in enumerate(writers)
    ]
    for _ in range(settings.steps):
        train_step(base, together, plan)
    return [trainee.encoder for trainee in together]


def _pull(
    base: BaseModel,
    start: Prefix,
    writers: Sequence[PublicWriter],
    settings: RehearsalSettings,
    plan: StepPlan,
    seed: int,
    scale: Tensor,
) -> Tensor:
    """Whither the start should not go, [P, width]: the gradient of what was held out, at the prefixes trained from it,
    in units of the spread and in the mean over writers, none of whom pulls harder than clip_norm, or by what is no
    number."""
    trained = encoded_together(_trained(base, start, writers, settings, plan, seed)).detach()
    gradients, _ = loss_gradients(base, trained, [writer.held_out for writer in writers], plan)
    pulls = scale * gradients  # [writers, P, width]
    norms = pulls.flatten(1).norm(dim=1).view(-1, 1, 1)
    pulls = torch.where(norms.isfinite(), pulls * (settings.clip_norm / (norms + 1e-6)).clamp(max=1.0), 0.0)
    return pulls.mean(0)


def _unseen_losses(
    base: BaseModel, start: Prefix, writers: Sequence[PublicWriter], settings: RehearsalSettings, plan: StepPlan
) -> list[float]:
    """Bits per character of what was held out, behind what each writer's training from there gives."""
    trained: list[Prefix] = []
    for first in range(0, len(writers), settings.writers):
        some = writers[first : first + settings.writers]
        trained += [encoder.prefix() for encoder in _trained(base, start, some, settings, plan, 0)]
    return bits_per_char_each(
        base, [(prefix.to(dtype=base.dtype), writer.held_out) for prefix, writer in zip(trained, writers, strict=True)]
    )
