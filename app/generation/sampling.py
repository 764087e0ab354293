"""How the next token is chosen: the caller's parameters, and one vectorised draw for all rows of a batch.

Each row draws from its own seeded stream of uniform numbers, so that neighbours never decide which token a number
falls on. Where the model computes in 16 bits they may still decide the last bits of its logits (docs/serving.md).
Knows nothing of rows' owners, text or the K/V cache.
"""

import math
from collections.abc import Sequence as Many
from dataclasses import dataclass, replace

import torch
from torch import Tensor

CANDIDATES = (64, 1024)  # how many of the likeliest tokens are looked at before the whole vocabulary is
GREEDY_BELOW = 1e-6  # a temperature that divides logits of 32 bits into nothing but the likeliest token, or into nan
SEEDS = range(-(2**63), 2**64)  # what torch.Generator takes


@dataclass(frozen=True)
class SamplingParams:
    """What a caller may ask of the choice of tokens. Raises ValueError with a sentence that names the field.

    temperature: 0 (and anything below 1e-6) is greedy; 1 is the model's own distribution.
    top_p: keep the fewest likeliest tokens that together reach this probability (1 keeps all, 0 only the likeliest).
    top_k: keep this many of the likeliest tokens (0 keeps all). Applied before top_p.
    seed: the same seed and logits give the same text; None draws a fresh one.
    max_tokens: ceiling of new tokens.
    stop_token_ids: tokens that end the answer, usually the tokenizer's EOS; none by default.
    voice_strength: how far the voice is followed from the base model (0) to the voice (1) and beyond, on
        log-probabilities: base + strength * (voice - base).
    logprobs: tell how likely each token was, and that of so many of the likeliest; None tells nothing.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    max_tokens: int = 16
    stop_token_ids: tuple[int, ...] = ()
    logprobs: int | None = None
    voice_strength: float = 1.0

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise ValueError(f"temperature must be 0 or a positive number, not {self.temperature}")
        if not 0 <= self.top_p <= 1:
            raise ValueError(f"top_p must lie between 0 and 1, not {self.top_p}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 (all tokens) or more, not {self.top_k}")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {self.max_tokens}")
        if self.logprobs is not None and self.logprobs < 0:
            raise ValueError(f"logprobs must be 0 or more, not {self.logprobs}")
        if not (self.voice_strength >= 0 and math.isfinite(self.voice_strength)):
            raise ValueError(f"voice_strength must be 0 or a positive number, not {self.voice_strength}")
        if self.seed is not None and self.seed not in SEEDS:
            raise ValueError(f"seed must fit into 64 bits, {self.seed} does not")

    def of_answer(self, index: int) -> "SamplingParams":
        """The parameters of one of several answers: the first has the seed itself, each further one the next number."""
        if self.seed is None or index == 0:
            return self
        seed = self.seed + index
        return replace(self, seed=seed if seed in SEEDS else seed - 2**64)

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken, so that nothing is drawn."""
        return self.temperature < GREEDY_BELOW


def followed(voice: Tensor, base: Tensor, strengths: Many[float]) -> Tensor:
    """[rows, vocabulary] logits with and without a voice, one strength a row -> log-probabilities up to a constant.

    Logits are that, too, and so is a mix of theirs; states that a linear layer makes logits of may be mixed instead.
    """
    wide = torch.float64 if voice.dtype == torch.float64 else torch.float32
    plain, spoken = base.to(wide), voice.to(wide)
    led = torch.lerp(plain, spoken, torch.tensor(strengths, dtype=wide, device=voice.device)[:, None])
    return led.nan_to_num(nan=-torch.inf, neginf=-torch.inf)  # what both hold impossible


def uniform_numbers(seed: int | None, count: int) -> list[float]:
    """The `count` numbers in [0, 1) that one row will spend, one a token."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    numbers: list[float] = torch.rand(count, generator=generator, dtype=torch.float64).tolist()
    return numbers


def sample(logits: Tensor, params: Many[SamplingParams], uniforms: Many[float]) -> list[int]:
    """The next token id of each row.

    logits: [rows, vocabulary]; params and uniforms: one per row (a greedy row's number is not looked at).
    """
    token_ids: list[int] = logits.max(-1).indices.tolist()  # several times as fast as argmax on 16 bits
    for draw, wanted in ((_draw_from_all, _keeps_all), (_draw_from_likeliest, _keeps_some)):
        rows = [row for row, asked in enumerate(params) if wanted(asked)]
        if rows:
            asked = [params[row] for row in rows]
            numbers = torch.tensor([uniforms[row] for row in rows], dtype=torch.float64, device=logits.device)
            for row, token_id in zip(rows, draw(_probabilities(logits[rows], asked), asked, numbers), strict=True):
                token_ids[row] = token_id
    return token_ids


# A row belongs to a group by its own parameters alone: the two groups lay their tokens out in different orders, and
# neighbours must never decide which token a number falls on.
def _keeps_all(params: SamplingParams) -> bool:
    return not params.greedy and params.top_k == 0 and params.top_p == 1


def _keeps_some(params: SamplingParams) -> bool:
    return not params.greedy and not _keeps_all(params)


def _probabilities(logits: Tensor, asked: list[SamplingParams]) -> Tensor:
    """[rows, vocabulary] logits -> probabilities at each row's temperature, in 32 bits or more."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    # The largest logit is taken away first, so that a tiny temperature can't overflow.
    centred = wide - wide.amax(-1, keepdim=True)
    temperatures = torch.tensor([params.temperature for params in asked], dtype=wide.dtype, device=wide.device)
    return torch.softmax(centred / temperatures[:, None], dim=-1)


def _draw_from_all(probabilities: Tensor, asked: list[SamplingParams], numbers: Tensor) -> list[int]:
    """[rows, vocabulary] -> one token id a row, tokens in the order of the vocabulary: nothing is sorted."""
    token_ids: list[int] = _invert(probabilities, numbers).tolist()
    return token_ids


def _draw_from_likeliest(probabilities: Tensor, asked: list[SamplingParams], numbers: Tensor) -> list[int]:
    """[rows, vocabulary] -> one token id a row, out of those that top_k and top_p keep, likeliest first.

    Sorting a whole vocabulary costs more than a small model's step, and a few dozen tokens are nearly always enough.
    Each row is drawn from as few as it needs itself: equals come in another order in another number of candidates.
    """
    vocabulary = probabilities.shape[-1]
    top_k = torch.tensor([params.top_k for params in asked], device=probabilities.device)
    top_p = torch.tensor([params.top_p for params in asked], dtype=probabilities.dtype, device=probabilities.device)
    total = probabilities.sum(-1)
    picked = torch.empty(len(asked), dtype=torch.long, device=probabilities.device)
    left = torch.arange(len(asked), device=probabilities.device)
    for size in (*(size for size in CANDIDATES if size < vocabulary), vocabulary):
        of_left = probabilities[left]
        if size < vocabulary:
            ordered, order = of_left.topk(size)
        else:
            ordered, order = of_left.sort(dim=-1, descending=True, stable=True)
        enough = torch.where(top_k[left] > 0, top_k[left] <= size, ordered.sum(-1) > top_p[left]) | (size == vocabulary)
        rows = left[enough]
        kept = _truncate(ordered[enough], top_k[rows], top_p[rows], total[rows])
        picked[rows] = order[enough].gather(-1, _invert(kept, numbers[rows])[:, None]).squeeze(-1)
        left = left[~enough]
        if not len(left):
            break
    token_ids: list[int] = picked.tolist()
    return token_ids


def _truncate(ordered: Tensor, top_k: Tensor, top_p: Tensor, total: Tensor) -> Tensor:
    """[rows, n], likeliest first -> the same with 0 for every token that top_k, then top_p, leave out.

    total: [rows], the whole vocabulary's sum, of which top_p is a part where top_k keeps all.
    """
    inside = (torch.arange(ordered.shape[-1], device=ordered.device) < top_k[:, None]) | (top_k == 0)[:, None]
    kept = ordered * inside
    before = kept.cumsum(-1) - kept
    reach = top_p * torch.where(top_k > 0, kept.sum(-1), total)
    nucleus = (before < reach[:, None]) | (top_p == 1)[:, None]
    nucleus[:, 0] = True
    return kept * nucleus


def _invert(weights: Tensor, numbers: Tensor) -> Tensor:
    """The inverse of the cumulative distribution: [rows, n] weights and [rows] numbers in [0, 1) -> [rows] indices."""
    cumulative = weights.cumsum(-1)
    total = cumulative[:, -1:].contiguous()
    indices = torch.searchsorted(cumulative, numbers[:, None].to(weights.dtype) * total, right=True).squeeze(-1)
    # Rounding may carry number * total up to the total itself: then the last token that has any weight.
    last = torch.searchsorted(cumulative, total).squeeze(-1)
    # And a row whose model broke down (nan) must still name a token that exists, or its neighbours would fall with it.
    return torch.minimum(indices, last).clamp(max=weights.shape[-1] - 1)
