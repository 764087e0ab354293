"""Rehearsal: a population prefix made to be adapted. Over and over a few public writers are trained from it for some
steps, as people are; it then moves to where these prefixes would have done better on what they had not seen of the same
writers (first-order MAML, Finn et al. 2017). So it learns where to start from, not whom to sound like.

Owns that loop, and the steps of those who rehearse, which are as a Learner's (a test holds them to it) but everybody's
in one encoder: sixteen of their own would take most of the time. Knows nothing of files, people or runs.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tuning.base_model import BaseModel
from tuning.dataset import Block, num_tokens, text_blocks
from tuning.errors import ConfigurationError, TooLittleText
from tuning.evaluation import bits_per_char, bits_per_char_each, reduction_pct
from tuning.learner import Deck
from tuning.precision import fast_arithmetic, fast_attention
from tuning.prefix import Prefix
from tuning.prefix_encoder import PrefixEncoder, flatten, training_dtype
from tuning.recomputation import recomputing
from tuning.scoring import pass_losses, passes
from tuning.training import TrainingSettings
from tuning.training_step import StepPlan

_PIECES_PER_HELD_OUT = 4  # a quarter of a writer's pieces are held out, the last ones
_LEAST_HELD_OUT = 2
WARMUP_STEPS = 3  # of a writer's few steps
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
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(warmup_steps=WARMUP_STEPS))


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


class _Class:
    """Public writers who are trained from one start at the same time, each a prefix encoder of their own: its
    parameters lie along the first dimension of `_parameters`."""

    def __init__(self, start: Prefix, writers: Sequence[PublicWriter], settings: RehearsalSettings, seed: int) -> None:
        training, seeds = settings.training, range(seed * len(writers), (seed + 1) * len(writers))
        encoders = [PrefixEncoder(start, training.parametrisation, hidden=training.hidden, seed=one) for one in seeds]
        self._encoder, self._settings, self._step = encoders[0], settings, 0
        self._parameters, _ = torch.func.stack_module_state(list(encoders))
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
        self._decks = [
            Deck(writer.train, training.tokens_per_step, one) for writer, one in zip(writers, seeds, strict=True)
        ]

    def step(self, base: BaseModel, plan: StepPlan) -> None:
        """One optimizer step of everybody, each clipped by their own norm, as a Learner's."""
        keys, values = self.keys_values()
        dealt = [deck.deal() for deck in self._decks]
        torch.autograd.backward([*keys, *values], _gradients(base, keys, values, dealt, plan))
        training = self._settings.training
        _clip([_some(parameter.grad) for parameter in self._parameters.values()], training.clip_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = training.learning_rate * training.schedule(self._step, self._settings.steps)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._step += 1

    def keys_values(self) -> tuple[list[Tensor], list[Tensor]]:
        """Everybody's, one tensor [writers, num_kv_heads, P, head_dim] per layer."""
        encoded: tuple[list[Tensor], list[Tensor]] = torch.func.vmap(
            lambda parameters: torch.func.functional_call(self._encoder, parameters, ())
        )(self._parameters)
        return encoded


def _trained(
    base: BaseModel,
    start: Prefix,
    writers: Sequence[PublicWriter],
    settings: RehearsalSettings,
    plan: StepPlan,
    seed: int,
) -> tuple[list[Tensor], list[Tensor]]:
    """Keys and values of everybody after a training."""
    together = _Class(start, writers, settings, seed)
    for _ in range(settings.steps):
        together.step(base, plan)
    with torch.no_grad():
        return together.keys_values()


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
    keys, values = _trained(base, start, writers, settings, plan, seed)
    gradients = _gradients(base, keys, values, [writer.held_out for writer in writers], plan)
    of_keys, of_values = gradients[: len(keys)], gradients[len(keys) :]
    pulls = scale * torch.stack(
        [flatten([one[n] for one in of_keys], [one[n] for one in of_values]) for n in range(len(writers))]
    )
    pulls = torch.where(pulls.isfinite().flatten(1).all(1).view(-1, 1, 1), pulls, 0.0)
    _clip([pulls], settings.clip_norm)
    return pulls.mean(0)


def _gradients(
    base: BaseModel,
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    owned: Sequence[Sequence[Block]],
    plan: StepPlan,
) -> list[Tensor]:
    """Of each writer's mean loss per token of their blocks, with respect to all keys, then all values."""
    leaves = [tensor.detach().requires_grad_() for tensor in (*keys, *values)]
    sizes = [num_tokens(blocks) for blocks in owned]
    with recomputing(base, plan.recompute), fast_attention(base):
        for one in passes(owned, plan.tokens_at_once):
            apart = [leaf.unbind(0) for leaf in leaves]
            prefixes = [
                [(key[owner], value[owner]) for key, value in zip(apart[: len(keys)], apart[len(keys) :], strict=True)]
                for owner in range(len(owned))
            ]
            with fast_arithmetic(base):
                losses = pass_losses(base, one, prefixes)
            weights = torch.tensor([1 / sizes[owner] for owner in one.owners], dtype=losses.dtype, device=base.device)
            (losses * weights).sum().backward()  # type: ignore[no-untyped-call]
    return [_some(leaf.grad) for leaf in leaves]


def _clip(gradients: Sequence[Tensor], norm: float) -> None:
    """Each writer's gradients, whose first dimension they are, to a common norm of `norm` at most; in place."""
    squares = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0)
    shares = (norm / (squares.sqrt() + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(shares.view(-1, *[1] * (gradient.dim() - 1)))


def _some(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient


def _unseen_losses(
    base: BaseModel, start: Prefix, writers: Sequence[PublicWriter], settings: RehearsalSettings, plan: StepPlan
) -> list[float]:
    """Bits per character of what was held out, behind what each writer's training from there gives."""
    trained: list[Prefix] = []
    for first in range(0, len(writers), settings.writers):
        some = writers[first : first + settings.writers]
        keys, values = _trained(base, start, some, settings, plan, 0)
        trained += [
            Prefix(tuple(one[n] for one in keys), tuple(one[n] for one in values), base.fingerprint)
            for n in range(len(some))
        ]
    return bits_per_char_each(
        base, [(prefix.to(dtype=base.dtype), writer.held_out) for prefix, writer in zip(trained, writers, strict=True)]
    )
