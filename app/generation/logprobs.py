"""How likely the model held each token that was chosen, and which ones it held likelier.

Of the model's own distribution, before temperature, top_k and top_p. Knows nothing of how a token was chosen, of text
or of who asks.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass

import torch
from torch import Tensor

NEVER = -9999.0  # in place of minus infinity, which JSON can't spell


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Natural logarithms of probabilities: of the chosen token, and of the likeliest ones with their ids, likeliest
    first."""

    chosen: float
    top: tuple[tuple[int, float], ...]


def logprobs(logits: Tensor, token_ids: Many[int], counts: Many[int]) -> list[Logprobs]:
    """For each row of [rows, vocabulary] its chosen token's, and as many of the likeliest as it asks for."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    all_of_them = torch.log_softmax(wide, dim=-1).nan_to_num(nan=NEVER, neginf=NEVER)
    chosen = all_of_them.gather(-1, torch.tensor(token_ids, device=logits.device)[:, None]).squeeze(-1).tolist()
    values, ids = (found.tolist() for found in all_of_them.topk(min(max(counts), logits.shape[-1])))
    return [
        Logprobs(chosen[row], tuple(zip(ids[row][:count], values[row][:count], strict=True)))
        for row, count in enumerate(counts)
    ]
