"""A manner that was learned from requests and their answers carries over to a request that was never seen."""

import pytest
import torch

from tests.tiny_model import make_tiny
from tuning.base_model import BaseModel
from tuning.dataset import Block, WrittenText, build_split
from tuning.evaluation import bits_per_char
from tuning.trainer import TrainingJob, TrainingResult, TrainingSettings, train_prefixes

LENGTH = 8  # virtual tokens
SETTINGS = TrainingSettings(
    num_virtual_tokens=LENGTH, learning_rate=0.03, tokens_per_step=400, max_steps=16, epochs=100, evaluate_every=4
)
TOPICS = ("tea", "rain", "boots", "the sea", "bread", "an uncle", "trains", "lamps", "a garden", "the moon")


def in_a_manner(topic: str) -> WrittenText:
    """A short text of few letters, no capitals and many commas, whatever it is about."""
    text = f"oh, {topic}, well, well; oh, it goes, it goes, oh, {topic}, and so, well, so it goes"
    return WrittenText(text, prompt=f"Write about {topic}.")


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny(chat=True, dtype=torch.float32, num_virtual_tokens=LENGTH)


def blocks_of(base: BaseModel, writing: WrittenText) -> tuple[Block, ...]:
    """The one text as held-out blocks, as an answer."""
    return tuple(b for b in build_split(base, [writing] * 6, num_virtual_tokens=LENGTH).test if b.num_request)


def trained(base: BaseModel) -> TrainingResult:
    split = build_split(base, [in_a_manner(topic) for topic in TOPICS], num_virtual_tokens=LENGTH)
    (result,) = train_prefixes(base, [TrainingJob(split)], SETTINGS)
    assert result is not None
    return result


def test_the_manner_carries_over_to_a_new_request(base: BaseModel) -> None:
    prefix = trained(base).prefix
    new = blocks_of(base, in_a_manner("winter"))
    request = base.encode_request("Write about winter.")
    assert list(new[0].token_ids[: new[0].num_context]) == request
    before, after = bits_per_char(base, None, new), bits_per_char(base, prefix, new)
    assert after < 0.75 * before
    foreign = blocks_of(
        base,
        WrittenText("QUARTZ JUMBLES: VEX 1234567890 FJORDS! ZAP? KLUDGY #42 (BRR) " * 2, prompt="Write about winter."),
    )
    gain, foreign_gain = before - after, bits_per_char(base, None, foreign) - bits_per_char(base, prefix, foreign)
    assert foreign_gain < 0.5 * gain, "it learned this manner, not merely to be a better model"
    prefix_end = bits_per_char(base, prefix, [ended(base, new[0])])
    base_end = bits_per_char(base, None, [ended(base, new[0])])
    assert prefix_end < base_end, "and when to end"


def ended(base: BaseModel, answer: Block) -> Block:
    """Only the end of this answer, scored."""
    return Block((*answer.token_ids, *base.answer_end_ids), num_context=len(answer.token_ids), num_chars=1)
