import math

import pytest
import torch

from tests.tiny_model import make_tiny
from tests.tuning.texts import CANARIES, plain, written
from tuning import in_context
from tuning.base_model import BaseModel
from tuning.dataset import Block, Split, WrittenText, build_split
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


def test_before_an_answer_stand_answers_with_their_requests_and_its_own_request_is_never_cut() -> None:
    base = make_tiny(chat=True)
    written_to = [
        WrittenText(f"text{n}. " + plain(14 if n < 6 else 60), prompt=f"Write about {n}, please.") for n in range(8)
    ]
    split = build_split(base, written_to, num_virtual_tokens=4)
    answer = next(block for block in split.test if block.num_request)
    request = base.encode_request("Write about 6, please.")
    shown = (base.document_start_id, *range(2, 100))
    pieces = list(behind(shown, answer, base.context_length))
    assert len(pieces) > 1
    assert all(list(piece.token_ids[len(shown) : len(shown) + len(request)]) == request for piece in pieces)
    scored = [token for piece in pieces for token in piece.token_ids[piece.num_context :]]
    assert scored == list(answer.token_ids[answer.num_context :])
    seen: list[str] = []

    def watch(base: BaseModel, _: None, blocks: list[Block]) -> float:
        seen.extend(str(base.tokenizer.decode(list(block.token_ids[: block.num_context]))) for block in blocks)
        return 1.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_context, "bits_per_char", watch)
        in_context_bits_per_char(base, split.train, split.test)
    before_answers = [
        text
        for text in seen
        if text.startswith("<|endoftext|>") and text.count("<|user|>\nWrite about 6, please.") == 1
    ]
    assert before_answers
    assert all(text.count("<|user|>") >= 1 for text in before_answers)
    assert any(text.count("<|assistant|>") >= 2 for text in before_answers), "an answer of another request is shown"
