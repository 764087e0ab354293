"""How fast a model learns, and by what: Muon and AdamW, and the rate over a budget of tokens. Knows no data."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from pretraining.muon import StackedMuon

MUON_RATE, ADAMW_RATE = 0.02, 3e-3
_WARM_UP_STEPS = 100
_LEAST = 0.02


@dataclass(frozen=True)
class Schedule:
    """Warm-up, stable, decay. budget: tokens in all. decay: the share of them over which the rate falls. peak: what
    both optimizers' rates are multiplied by at the highest."""

    budget: float
    decay: float = 0.3
    peak: float = 1.0

    def share(self, seen: int, steps: int) -> float:
        """Of the peak, after so many tokens and steps."""
        warm_up = min(1.0, (steps + 1) / _WARM_UP_STEPS)
        left = (self.budget - seen) / (self.decay * self.budget)
        return warm_up * max(_LEAST, min(1.0, left))

    def decays(self, seen: int, steps: int) -> bool:
        """Whether the warm-up is over and the rate falls."""
        return self.share(seen, steps) < 1 and steps > _WARM_UP_STEPS

    def apply(self, optimizers: Iterable[torch.optim.Optimizer], seen: int, steps: int) -> float:
        """Set the optimizers' rates, and return the share of the peak."""
        share = self.share(seen, steps)
        for optimizer, rate in zip(optimizers, (MUON_RATE, ADAMW_RATE), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * self.peak * share
        return share


def make_optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the embedding and the norms, in this order."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        inner = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
        (matrices if inner else others).append(parameter)
    muon = torch.optim.Muon if matrices[0].device.type == "cpu" else StackedMuon
    return [
        muon(matrices, lr=MUON_RATE, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(others, lr=ADAMW_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]
