"""What is minimised and what is reported: cross-entropy of next tokens. Knows no optimizer and no schedule."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from pretraining.tokens import Ids

NOT_SCORED = -100  # a target that counts for nothing
_MOST_PIECES = 256

Loss = Callable[[Tensor, Tensor], Tensor]


def loss_of(model: PreTrainedModel) -> Loss:
    """(inputs, targets), both [rows, length] -> the mean nats of the scored targets; products in bfloat16."""
    device = torch.device(model.device).type

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):
            hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state  # [rows, length, hidden]
            logits = model.lm_head(hidden)  # [rows, length, vocabulary]
        flat = logits.float().view(-1, logits.shape[-1])
        return cross_entropy(flat, targets.reshape(-1), ignore_index=NOT_SCORED)

    return loss


def held_out_nats(model: PreTrainedModel, held_out: Ids, length: int) -> float:
    """Mean nats per token over the first stretches of the held-out text, at most 256 of them."""
    pieces = min(_MOST_PIECES, (len(held_out) - 1) // length)
    loss, total = loss_of(model), 0.0
    with torch.no_grad():
        for number in range(pieces):
            piece = held_out[number * length : (number + 1) * length + 1].astype(np.int64)
            ids = torch.from_numpy(piece).to(model.device)
            total += float(loss(ids[None, :-1], ids[None, 1:]))
    return total / pieces
