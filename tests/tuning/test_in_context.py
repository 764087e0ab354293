import math

import pytest
import torch

from tests.tiny_model import make_tiny
from tests.tuning.texts import CANARIES, written
from tuning.base_model import BaseModel
from tuning.dataset import Split, build_split
from tuning.evaluation import bits_per_char
from tuning.in_context import behind, in_context_bits_per_char


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama")


@pytest.fixture(scope="module")
def split(base: BaseModel) -> Split:
    return build_split(base, written(CANARIES[0], 8), num_virtual_tokens=4)


def test_every_token_is_scored_once_behind_the_samples(base: BaseModel, split: Split) -> None:
    shown = (base.document_start_id, *range(2, 100))
    for block in split.test:
        pieces = list(behind(shown, block, base.context_length))
        scored = [token for piece in pieces for token in piece.token_ids[piece.num_context :]]
        assert scored == list(block.token_ids[block.num_context :])
        assert sum(piece.num_chars for piece in pieces) == block.num_chars
        assert all(len(piece.token_ids) <= base.context_length for piece in pieces)
        assert all(piece.token_ids[: len(shown)] == shown for piece in pieces)


def test_it_equals_a_direct_computation_over_the_newest_half_context_of_training_text(
    base: BaseModel, split: Split
) -> None:
    half = base.context_length // 2
    trained = [token for block in split.train for token in block.token_ids[block.num_context :]]
    shown = [base.document_start_id, *trained[1 - half :]]
    nats = 0.0
    for block in split.test:
        done = block.num_context
        while done < len(block.token_ids):
            before = block.token_ids[max(0, done - half // 4) : done]
            now = block.token_ids[done : done + half - len(before)]
            with torch.no_grad():
                ids = torch.tensor([[*shown, *before, *now]])
                logits = base.model(ids, use_cache=False).logits[0].log_softmax(-1)
            nats -= sum(float(logits[place - 1, ids[0, place]]) for place in range(len(ids[0]) - len(now), len(ids[0])))
            done += len(now)
    direct = nats / math.log(2) / sum(block.num_chars for block in split.test)
    measured = in_context_bits_per_char(base, split.train, split.test)
    assert measured == pytest.approx(direct, abs=1e-10)
    assert measured != pytest.approx(bits_per_char(base, None, split.test), abs=1e-3)
