from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tests.tiny_model import make_prefix, make_tiny
from tuning.base_model import BaseModel
from tuning.dataset import Block
from tuning.prefix_encoder import PrefixEncoder
from tuning.scoring import row_losses
from tuning.training_step import StepPlan, loss_gradients


@pytest.mark.parametrize(
    ("lanes", "wanted"), [(1, [400]), (2, [200, 200]), (4, [120, 120, 120, 40]), (None, [200, 200])]
)
def test_every_lane_has_a_pass_of_a_step_unless_it_were_too_small_to_pay(
    lanes: int | None, wanted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_tiny("llama")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    blocks = tuple(Block(tuple(range(2, 42)), 1, 40) for _ in range(10))
    sizes: list[int] = []

    def watched(base: BaseModel, blocks: Sequence[Block], prefixes: list[tuple[Tensor, Tensor]]) -> Tensor:
        sizes.append(sum(len(block.token_ids) for block in blocks))
        return row_losses(base, blocks, prefixes)

    monkeypatch.setattr("tuning.training_step.row_losses", watched)
    monkeypatch.setattr("tuning.training_step.side_by_side", lambda _, run, parts, most: [run(part) for part in parts])
    encoded = PrefixEncoder(make_prefix(base), "direct", hidden=16, seed=0)()[None].detach()
    loss_gradients(base, encoded, [blocks], StepPlan(lanes=lanes))
    assert sizes == wanted
