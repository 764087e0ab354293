"""What several people's encoders give at once."""

import pytest
import torch

from tests.tiny_model import make_prefix, make_tiny
from tuning.base_model import BaseModel
from tuning.prefix_encoder import Parametrisation, PrefixEncoder, encoded_together, flatten, unflatten


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama")


@pytest.mark.parametrize("parametrisation", ["direct", "mlp", "residual"])
def test_together_each_gives_what_it_gives_alone_and_learns_from_its_own_alone(
    base: BaseModel, parametrisation: Parametrisation
) -> None:
    encoders = [PrefixEncoder(make_prefix(base, seed=n), parametrisation, hidden=8, seed=n) for n in range(3)]
    together = encoded_together(encoders)
    for encoder, mine in zip(encoders, together, strict=True):
        torch.testing.assert_close(mine, encoder(), rtol=1e-12, atol=1e-12)
    pushed = torch.zeros_like(together)
    pushed[1] = torch.randn_like(pushed[1])
    together.backward(pushed)  # type: ignore[no-untyped-call]
    alone = PrefixEncoder(make_prefix(base, seed=1), parametrisation, hidden=8, seed=1)
    alone().backward(pushed[1])
    for parameter, same in zip(encoders[1].parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, same.grad, rtol=1e-12, atol=1e-12)
    others = [parameter.grad for n in (0, 2) for parameter in encoders[n].parameters()]
    assert not any(gradient is not None and gradient.any() for gradient in others)


def test_unflatten_undoes_flatten(base: BaseModel) -> None:
    prefix = make_prefix(base)
    keys, values = unflatten(flatten(prefix.keys, prefix.values), base.layer_shapes)
    assert all(map(torch.equal, (*keys, *values), (*prefix.keys, *prefix.values)))
