"""torch's Muon with the matrices of one shape in common products: an accelerator waits for the calls of small products,
not for their arithmetic. Knows no schedule and no model."""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class StackedMuon(torch.optim.Muon):
    """The same steps, settings and state as torch.optim.Muon, up to rounding; of its ways to adjust the rate to a
    matrix's shape, the default one.

    Muon: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step. closure: evaluated first, with gradients, and its value returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.shape].append(parameter)
            for parameters in alike.values():
                self._step_together(parameters, group)
        return loss

    def _step_together(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        momenta = [self._momentum(parameter) for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        moves = torch._foreach_lerp(gradients, momenta, group["momentum"]) if group["nesterov"] else momenta
        whole = torch.stack(list(moves))  # [matrices, rows, columns]
        turned = _orthogonal(whole, group["ns_coefficients"], group["ns_steps"], group["eps"]).to(whole.dtype)
        rows, columns = parameters[0].shape
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, turned.unbind(), alpha=-group["lr"] * math.sqrt(max(1, rows / columns)))

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def _orthogonal(matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """[matrices, rows, columns] -> the nearest semi-orthogonal ones, roughly, in bfloat16: a Newton-Schulz iteration of
    fifth order."""
    own, square, fourth = coefficients
    wide = matrices.bfloat16()
    tall = wide.shape[1] > wide.shape[2]
    wide = wide.mT if tall else wide
    wide = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = wide @ wide.mT
        wide = torch.baddbmm(wide, torch.baddbmm(gram, gram, gram, beta=square, alpha=fourth), wide, beta=own)
    return wide.mT if tall else wide
