import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tuning.token_losses import token_losses

ROWS, VOCABULARY = 37, 90
CLOSE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}


def drawn(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, among them infinitely low ones, targets, every fifth of them ignored, and a weight for each row."""
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(ROWS, VOCABULARY, generator=generator, dtype=torch.float64)).to(dtype)
    logits[:, 7] = -torch.inf
    targets = torch.randint(8, VOCABULARY, (ROWS,), generator=generator)
    targets[::5] = -100
    return logits, targets, torch.rand(ROWS, generator=generator)


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("at_once", [1, 10 * VOCABULARY, 2**19])
def test_losses_and_gradients_are_those_of_cross_entropy(
    dtype: torch.dtype, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.token_losses._AT_ONCE", {"cpu": at_once})
    logits, targets, weights = drawn(dtype)
    found = []
    for function in (token_losses, lambda x, y: F.cross_entropy(x, y, ignore_index=-100, reduction="none")):
        leaf = (logits if function is token_losses else logits.double()).clone().requires_grad_()
        losses = function(leaf, targets)
        (losses * weights).sum().backward()
        assert leaf.grad is not None
        found.append((losses.detach().double(), leaf.grad.double()))
    (ours, our_gradient), (theirs, their_gradient) = found
    loss_tolerance = CLOSE[dtype] if dtype == torch.float64 else 1e-5  # sums are float32, whatever the logits are in
    torch.testing.assert_close(ours, theirs, rtol=loss_tolerance, atol=loss_tolerance)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=CLOSE[dtype], atol=CLOSE[dtype] / 100)
    assert not ours[::5].any()
    assert not our_gradient[::5].any()


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
def test_losses_are_at_least_float32_and_the_logits_stay_as_they_were(dtype: torch.dtype) -> None:
    logits, targets, _ = drawn(dtype)
    leaf = logits.clone().requires_grad_()
    losses = token_losses(leaf, targets)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert losses.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.equal(leaf.detach(), logits)


def test_the_way_back_keeps_nothing_of_the_vocabulary_s_size_but_the_logits() -> None:
    logits, targets, _ = drawn(torch.bfloat16)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    leaf = logits.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        token_losses(leaf, targets)
    assert [tensor.data_ptr() for tensor in kept if tensor.numel() >= logits.numel()] == [leaf.data_ptr()]
