"""Several independent answers to one request: a row each, one stream."""

from collections import defaultdict
from collections.abc import Callable

import pytest

from app.generation.engine import Engine
from app.generation.errors import EngineClosed, EngineFull, TooManyAtOnce
from app.generation.sampling import SamplingParams
from app.generation.sequence import GenerationStream, Token
from app.generation.text_stream import TextStream
from tests.tiny_model import make_prefix
from tuning.base_model import BaseModel

MakeEngine = Callable[..., Engine]
WARM = SamplingParams(temperature=0.9, top_p=0.95, seed=5, max_tokens=30)


def answers(stream: GenerationStream) -> dict[int, list[int]]:
    read: dict[int, list[int]] = defaultdict(list)
    for token in stream:
        read[token.index].append(token.id)
    return dict(read)


def ids(stream: GenerationStream) -> list[int]:
    return [token.id for token in stream]


def test_each_answer_is_what_its_own_seed_gives_alone(engine: Engine, base: BaseModel) -> None:
    prefix = make_prefix(base)
    several = answers(engine.submit([5, 6, 7], WARM, prefix, count=6))  # of which four have a row at first
    alone = [ids(engine.submit([5, 6, 7], WARM.of_answer(index), prefix)) for index in range(6)]
    assert [several[index] for index in range(6)] == alone
    assert len({tuple(answer) for answer in alone}) == 6


def test_seeds_follow_one_another_and_none_stays_none() -> None:
    assert [WARM.of_answer(index).seed for index in range(3)] == [5, 6, 7]
    assert SamplingParams(seed=2**64 - 1).of_answer(2).seed == 1
    assert SamplingParams().of_answer(1).seed is None


def test_without_a_seed_answers_differ(engine: Engine) -> None:
    several = answers(engine.submit([5], SamplingParams(max_tokens=20), None, count=3))
    assert len({tuple(answer) for answer in several.values()}) == 3


def test_all_of_them_get_a_place_or_none(make_engine: MakeEngine) -> None:
    engine = make_engine(max_num_seqs=2, max_waiting=2)
    engine.submit([5], WARM, None, count=2)
    with pytest.raises(EngineFull):
        engine.submit([5], WARM, None, count=3)
    assert engine.figures().waiting == 2
    engine.submit([5], WARM, None, count=2)
    with pytest.raises(TooManyAtOnce, match="5 rows of the batch, and there are at most 4"):
        engine.submit([5], WARM, None, count=5)


def test_leaving_frees_the_rows_of_all(make_engine: MakeEngine) -> None:
    engine = make_engine(max_num_seqs=2)
    engine.start()
    with engine.submit([5], SamplingParams(max_tokens=240), None, count=3) as stream:
        next(stream)
    left = [token for token in stream if token.finish_reason is not None]
    assert not left
    assert (engine.figures().running, engine.figures().waiting) == (0, 0)


def test_a_dropped_answer_is_read_no_more_and_frees_its_row(engine: Engine) -> None:
    stream = engine.submit([5], SamplingParams(temperature=0, max_tokens=60), None, count=2)
    read: list[Token] = [next(stream)]
    stream.drop(0)
    read += stream
    assert [token.index for token in read].count(0) <= 1
    assert [token.index for token in read].count(1) == 60
    assert stream.ended
    assert engine.figures().running == 0


def test_the_engines_end_is_the_end_of_all(make_engine: MakeEngine) -> None:
    engine = make_engine(max_num_seqs=1)
    stream = engine.submit([5], WARM, None, count=3)
    engine.close()
    with pytest.raises(EngineClosed):
        next(stream)
    assert list(stream) == []


def test_texts_come_apart_and_a_stop_string_ends_only_its_own(engine: Engine, base: BaseModel) -> None:
    prompt = base.encode("hello")
    alone = []
    for index in range(3):
        stream = TextStream(engine.submit(prompt, WARM.of_answer(index), None), base.tokenizer, (), prompt)
        alone.append("".join(piece.text for piece in stream))
    stop = next(char for char in alone[0][2:] if char != "\ufffd" and char not in alone[1])
    several = TextStream(engine.submit(prompt, WARM, None, count=3), base.tokenizer, [stop], prompt, count=3)
    read: dict[int, str] = defaultdict(str)
    reasons = {}
    for piece in several:
        read[piece.index] += piece.text
        if piece.finish_reason:
            reasons[piece.index] = piece.finish_reason
    assert [read[index] for index in range(3)] == [text.partition(stop)[0] for text in alone]
    assert (reasons[0], reasons[1]) == ("stop", "length")
    assert several.num_tokens < 90
