"""A voice followed by more or less than itself, against two models computed side by side without any cache of ours."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from app.generation.engine import Engine
from app.generation.errors import EngineClosed, EngineFull, TooManyAtOnce, WrongPrefix
from app.generation.sampling import SamplingParams, followed
from app.generation.sequence import GenerationStream
from tests.app.generation.alone import answer_alone, logits_alone
from tests.tiny_model import FAMILIES, make_prefix
from tuning.base_model import BaseModel
from tuning.prefix import Prefix

MakeEngine = Callable[..., Engine]
PROMPT = [5, 6, 7]


def greedy(strength: float, max_tokens: int = 24, **fields: Any) -> SamplingParams:
    return SamplingParams(temperature=0, max_tokens=max_tokens, voice_strength=strength, **fields)


def ids(stream: GenerationStream) -> list[int]:
    return [token.id for token in stream]


def led(base: BaseModel, so_far: list[int], prefix: Prefix, strength: float) -> Tensor:
    """[vocabulary]: what is followed after these tokens, computed directly."""
    plain = torch.log_softmax(logits_alone(base, so_far, None), dim=-1)
    voice = torch.log_softmax(logits_alone(base, so_far, prefix), dim=-1)
    return plain + strength * (voice - plain)


def led_alone(base: BaseModel, prompt: list[int], prefix: Prefix, strength: float, count: int) -> list[int]:
    so_far = list(prompt)
    for _ in range(count):
        so_far.append(int(led(base, so_far, prefix, strength).argmax()))
    return so_far[len(prompt) :]


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_the_base_model_and_one_the_voice(
    bases: dict[str, BaseModel], make_engine: MakeEngine, family: str
) -> None:
    base = bases[family]
    engine = make_engine(base)
    engine.start()
    prefix = make_prefix(base, 6)
    plain, voice = answer_alone(base, PROMPT, None, 24), answer_alone(base, PROMPT, prefix, 24)
    assert plain != voice
    assert ids(engine.submit(PROMPT, greedy(0, stop_token_ids=(0,)), prefix)) == plain
    assert ids(engine.submit(PROMPT, greedy(1, stop_token_ids=(0,)), prefix)) == voice
    assert ids(engine.submit(PROMPT, greedy(1.5, stop_token_ids=(0,)), None)) == plain


@pytest.mark.parametrize("strength", [0.5, 1.7])
@pytest.mark.parametrize("family", FAMILIES)
def test_between_and_beyond_two_models_are_followed(
    bases: dict[str, BaseModel], make_engine: MakeEngine, family: str, strength: float
) -> None:
    base = bases[family]
    engine = make_engine(base, prefill_chunk=8)
    engine.start()
    prefix = make_prefix(base, 6)
    for prompt in (PROMPT, list(range(2, 60))):  # read at once, and in parts
        assert ids(engine.submit(prompt, greedy(strength), prefix)) == led_alone(base, prompt, prefix, strength, 24)


def test_among_others_who_come_and_go_everybody_gets_what_they_get_alone(
    make_engine: MakeEngine, base: BaseModel
) -> None:
    engine = make_engine(max_num_seqs=5, prefill_chunk=9)
    prefix, other = make_prefix(base, 5), make_prefix(base, 3, seed=4)
    asked = [(0.5, 9, 12), (1, 3, 30), (1.7, 30, 7), (0, 5, 9), (2, 12, 20), (1, 41, 6), (0.5, 1, 15), (1.2, 20, 3)]
    streams = []
    for number, (strength, length, count) in enumerate(asked):
        prompt = list(range(2 + number, 2 + number + length))
        voice = other if number % 3 == 0 else prefix
        streams.append((prompt, strength, count, voice, engine.submit(prompt, greedy(strength, count), voice)))
    engine.start()
    for prompt, strength, count, voice, stream in streams:
        assert ids(stream) == led_alone(base, prompt, voice, strength, count)
    assert (engine.figures().running, engine.figures().waiting) == (0, 0)
    assert engine.figures().generated_tokens == sum(count for _, _, count in asked), "a twin's tokens are nobody's"


def test_no_second_row_where_one_is_enough(make_engine: MakeEngine, base: BaseModel) -> None:
    engine = make_engine(max_num_seqs=1, max_waiting=0)
    for strength in (0, 1):
        stream = engine.submit(PROMPT, greedy(strength), make_prefix(base))
        assert engine.figures().waiting == 1
        stream.cancel()
        engine = make_engine(max_num_seqs=1, max_waiting=0)


def test_a_second_row_counts_at_the_door(make_engine: MakeEngine, base: BaseModel) -> None:
    engine = make_engine(max_num_seqs=2, max_waiting=1)
    prefix = make_prefix(base)
    engine.submit(PROMPT, greedy(0.5), prefix)
    assert engine.figures().waiting == 2
    with pytest.raises(EngineFull):
        engine.submit(PROMPT, greedy(0.5), prefix)
    engine.submit(PROMPT, greedy(1), prefix)
    with pytest.raises(TooManyAtOnce, match="4 rows of the batch, and there are at most 3"):
        engine.submit(PROMPT, greedy(0.5), prefix, count=2)
    with pytest.raises(TooManyAtOnce, match="at most 1"):
        make_engine(max_num_seqs=1).submit(PROMPT, greedy(0.5), prefix)


@pytest.mark.parametrize("wait_s", [0.0, 0.02])
@pytest.mark.parametrize("length", [3, 200])
def test_both_rows_are_free_when_a_stream_is_dropped(
    make_engine: MakeEngine, base: BaseModel, wait_s: float, length: int
) -> None:
    engine = make_engine(max_num_seqs=3, prefill_chunk=8)
    engine.start()
    prefix = make_prefix(base)
    neighbour = engine.submit([9], greedy(1, 40), prefix)
    with engine.submit([7] * length, greedy(1.5, 40), prefix):
        time.sleep(wait_s)  # while it is read, or written
    assert ids(neighbour) == answer_alone(base, [9], prefix, 40)
    assert ids(engine.submit(PROMPT, greedy(1.5), prefix)) == led_alone(base, PROMPT, prefix, 1.5, 24)
    assert (engine.figures().running, engine.figures().waiting) == (0, 0)


def test_a_stop_token_frees_both_rows(make_engine: MakeEngine, base: BaseModel) -> None:
    engine = make_engine(max_num_seqs=2)
    engine.start()
    prefix = make_prefix(base)
    whole = led_alone(base, PROMPT, prefix, 0.5, 12)
    params = SamplingParams(temperature=0, max_tokens=50, voice_strength=0.5, stop_token_ids=(whole[5],))
    assert ids(engine.submit(PROMPT, params, prefix)) == whole[: whole.index(whole[5]) + 1]
    assert engine.figures().running == 0


def test_several_answers_with_a_strength_have_a_pair_each(engine: Engine, base: BaseModel) -> None:
    prefix = make_prefix(base)
    params = SamplingParams(temperature=0.9, seed=3, max_tokens=16, voice_strength=1.4)
    read: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for token in engine.submit(PROMPT, params, prefix, count=3):  # two pairs fit, the third waits
        read[token.index].append(token.id)
    assert [read[index] for index in range(3)] == [
        ids(engine.submit(PROMPT, params.of_answer(index), prefix)) for index in range(3)
    ]


def test_logprobs_are_those_of_what_is_followed(engine: Engine, base: BaseModel) -> None:
    prefix, so_far = make_prefix(base), list(PROMPT)
    for token in engine.submit(PROMPT, greedy(0.5, 8, logprobs=2), prefix):
        expected = torch.log_softmax(led(base, so_far, prefix, 0.5), dim=-1)
        assert token.logprobs is not None
        assert token.logprobs.chosen == pytest.approx(float(expected[token.id]), abs=1e-9)
        so_far.append(token.id)


def test_the_engines_end_is_told_once(make_engine: MakeEngine, base: BaseModel) -> None:
    engine = make_engine(max_num_seqs=2)
    engine.start()
    running = engine.submit(PROMPT, greedy(0.5, 240), make_prefix(base))
    next(running)
    engine.close()
    with pytest.raises(EngineClosed):
        ids(running)


def test_a_voice_of_another_model_is_refused_at_any_strength(engine: Engine, bases: dict[str, BaseModel]) -> None:
    for strength in (0, 0.5, 1):
        with pytest.raises(WrongPrefix):
            engine.submit(PROMPT, greedy(strength), make_prefix(bases["gpt2"]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_what_both_hold_impossible_stays_so(dtype: torch.dtype) -> None:
    voice = torch.tensor([[0.0, -torch.inf, 1.0]], dtype=dtype)
    base = torch.tensor([[0.5, -torch.inf, 0.0]], dtype=dtype)
    mixed = followed(voice, base, [1.5])
    assert mixed[0, 1] == -torch.inf
    assert mixed[0, [0, 2]].isfinite().all()


@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_a_strength_that_is_no_positive_number_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match="voice_strength"):
        SamplingParams(voice_strength=strength)
