import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from app.generation import engine as generation_engine
from app.generation.engine import Engine
from app.generation.errors import CacheTooSmall, EngineClosed, EngineFailed, EngineFull, PromptTooLong, WrongPrefix
from app.generation.kv_cache import KVCache
from app.generation.model_runner import ModelRunner, PaddedRunner, runner_for
from app.generation.sampling import SamplingParams
from app.generation.sequence import GenerationStream
from tests.app.generation.alone import answer_alone
from tests.tiny_model import FAMILIES, make_prefix, make_tiny
from tuning.base_model import BaseModel
from tuning.prefix import Prefix

MakeEngine = Callable[..., Engine]
Request = tuple[list[int], Prefix | None, int]  # prompt, prefix, max_tokens


def greedy(max_tokens: int, *stop_token_ids: int) -> SamplingParams:
    return SamplingParams(temperature=0, max_tokens=max_tokens, stop_token_ids=stop_token_ids)


def ids(stream: GenerationStream) -> list[int]:
    return [token.id for token in stream]


def mixed_requests(base: BaseModel, count: int, seed: int) -> list[Request]:
    """Users with prompts and prefixes of different lengths; every fourth has no prefix."""
    chance = random.Random(seed)
    return [
        (
            [chance.randrange(2, 258) for _ in range(chance.choice((1, 2, 7, 15, 16, 17, 40, 70)))],
            make_prefix(base, chance.randrange(1, 13), seed=100 + user) if user % 4 else None,
            chance.randrange(1, 40),
        )
        for user in range(count)
    ]


def answers_alone(base: BaseModel, requests: list[Request]) -> list[list[int]]:
    return [answer_alone(base, *request) for request in requests]


def own(base: BaseModel, *given: Any) -> ModelRunner:
    """The way that this machine takes."""
    return runner_for(base, *given)


def padded(base: BaseModel, max_num_seqs: int, capacity: int, _most_bytes: int | None) -> ModelRunner:
    """The way that accelerators take."""
    cache = KVCache(base.layer_shapes, max_num_seqs, capacity, base.dtype, base.device, PaddedRunner.layer)
    return PaddedRunner(base, cache)


@pytest.fixture(params=[own, padded])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that are made run the model in this way."""
    monkeypatch.setattr(generation_engine, "runner_for", request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("family", FAMILIES)
def test_sixteen_users_in_one_batch_in_random_order_answer_as_generate_does(
    bases: dict[str, BaseModel], make_engine: MakeEngine, family: str
) -> None:
    base = bases[family]
    requests = mixed_requests(base, 16, seed=1)
    engine = make_engine(base, max_num_seqs=16, prefill_chunk=48)
    order = random.Random(family).sample(range(16), 16)
    streams = {
        user: engine.submit(requests[user][0], greedy(requests[user][2], 0), requests[user][1]) for user in order
    }
    engine.start()
    assert [ids(streams[user]) for user in range(16)] == answers_alone(base, requests)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("family", FAMILIES)
def test_sixty_four_users_who_arrive_and_leave_in_mid_flight_get_what_generate_gives(
    bases: dict[str, BaseModel], make_engine: MakeEngine, family: str
) -> None:
    base = bases[family]
    requests = mixed_requests(base, 64, seed=2)
    engine = make_engine(base, max_num_seqs=9, max_waiting=80, prefill_chunk=16)
    engine.start()
    answers: dict[int, list[int]] = {}
    gone = set(range(3, 64, 8))  # these hang up after a few tokens

    def call(user: int) -> None:
        time.sleep(random.Random(user).random() * 0.5)
        prompt, prefix, max_tokens = requests[user]
        with engine.submit(prompt, greedy(max_tokens, 0), prefix, owner=f"owner {user % 20}") as stream:
            answers[user] = [next(stream).id] if user in gone else ids(stream)

    callers = [threading.Thread(target=call, args=(user,)) for user in range(64)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    alone = answers_alone(base, requests)
    assert [answers[user] for user in range(64)] == [
        alone[user][:1] if user in gone else alone[user] for user in range(64)
    ]
    assert (engine.figures().running, engine.figures().waiting) == (0, 0)


def test_an_eager_attention_back_end_answers_as_generate_does(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation_engine, "runner_for", padded)
    base = make_tiny("gpt2")
    base.model.set_attn_implementation("eager")
    requests = mixed_requests(base, 6, seed=3)
    engine = make_engine(base)
    engine.start()
    streams = [engine.submit(prompt, greedy(max_tokens, 0), prefix) for prompt, prefix, max_tokens in requests]
    assert [ids(stream) for stream in streams] == answers_alone(base, requests)
    assert base.model.config._attn_implementation == "eager"


def test_a_prefix_changes_the_answer_and_is_itself_left_as_it_was(engine: Engine, base: BaseModel) -> None:
    prefix = make_prefix(base, 6)
    before = [tensor.clone() for tensor in (*prefix.keys, *prefix.values)]
    voiced = ids(engine.submit([5, 6, 7], greedy(20), prefix))
    plain = ids(engine.submit([5, 6, 7], greedy(20), None))
    assert voiced != plain
    assert all(torch.equal(*pair) for pair in zip(before, (*prefix.keys, *prefix.values), strict=True))


def test_a_request_in_mid_decode_gets_its_first_token_before_the_others_finish(engine: Engine) -> None:
    long = engine.submit([5], greedy(240), None)
    for _ in range(3):
        next(long)
    late = engine.submit([6], greedy(2), None)
    ended: dict[str, float] = {}

    def read_long() -> None:
        assert len(ids(long)) == 237
        ended["long"] = time.perf_counter()

    reader = threading.Thread(target=read_long)
    reader.start()
    next(late)
    ended["first of late"] = time.perf_counter()
    assert [token.finish_reason for token in late] == ["length"]
    reader.join()
    assert ended["first of late"] < ended["long"]


def test_a_long_prompt_never_stalls_the_others_by_more_than_a_chunk(make_engine: MakeEngine) -> None:
    engine = make_engine(prefill_chunk=8)
    engine.start()
    talking = engine.submit([5], greedy(250), None)
    next(talking)
    before = engine.figures()
    next(engine.submit([7] * 200, greedy(1), None))
    after = engine.figures()
    steps = after.steps - before.steps
    assert steps >= 200 // 8 - 1
    # One token of `talking` in each of these steps (give or take those that run while we look).
    assert after.generated_tokens - before.generated_tokens >= steps - 1
    talking.cancel()


def test_short_prompts_that_wait_together_are_cached_in_one_step(make_engine: MakeEngine) -> None:
    engine = make_engine(prefill_chunk=64)
    streams = [engine.submit([token, 9, 8], greedy(1), None) for token in range(5, 9)]
    engine.start()
    for stream in streams:
        ids(stream)
    engine.close()
    assert engine.figures().steps == 1


def test_one_users_flood_delays_another_by_a_turn(make_engine: MakeEngine) -> None:
    engine = make_engine(max_num_seqs=1, max_waiting=40)
    flood = [
        engine.submit([5], greedy(200), None, owner="ann") for _ in range(10)
    ]  # long: what follows is seen in time
    late = engine.submit([6], greedy(5), None, owner="bob")
    engine.start()
    ids(late)
    assert engine.figures().finished_answers <= 3, "ann's first, bob's, and perhaps ann's second"
    for stream in flood:
        assert len(ids(stream)) == 200


def test_who_has_a_row_keeps_it_until_the_answer_is_there(make_engine: MakeEngine) -> None:
    engine = make_engine(max_num_seqs=1, max_waiting=2)
    engine.start()
    first = engine.submit([5], greedy(200), None, owner="ann")
    next(first)
    others = [engine.submit([6], greedy(3), None, owner=owner) for owner in ("bob", "cyd")]
    with pytest.raises(EngineFull):
        engine.submit([7], greedy(3), None, owner="dan")
    assert len(ids(first)) == 199
    assert [len(ids(stream)) for stream in others] == [3, 3]


def test_rows_are_as_many_as_fit_in_the_memory_that_is_given(make_engine: MakeEngine, base: BaseModel) -> None:
    of_a_row = make_engine(max_num_seqs=1).figures().kv_cache_bytes
    narrow = make_engine(max_num_seqs=9, kv_cache_bytes=3 * of_a_row + 1)
    assert (narrow.figures().max_num_seqs, narrow.figures().kv_cache_bytes) == (3, 3 * of_a_row)
    assert make_engine(max_num_seqs=2, kv_cache_bytes=3 * of_a_row).figures().max_num_seqs == 2
    with pytest.raises(CacheTooSmall, match=rf"{of_a_row} bytes \(256 positions\)"):
        make_engine(kv_cache_bytes=of_a_row - 1)


def test_requests_are_served_in_the_order_they_came(make_engine: MakeEngine) -> None:
    engine = make_engine(max_num_seqs=1)
    streams = [engine.submit([5 + user], greedy(30), None) for user in range(6)]
    engine.start()
    ids(streams[3])
    assert engine.figures().finished_answers >= 4
    ids(streams[5])
    assert engine.figures().finished_answers == 6


def test_a_stop_token_ends_the_answer_and_is_its_last_token(engine: Engine) -> None:
    whole = ids(engine.submit([5, 6, 7], greedy(30), None))
    tokens = list(engine.submit([5, 6, 7], greedy(30, whole[10]), None))
    end = whole.index(whole[10])
    assert [token.id for token in tokens] == whole[: end + 1]
    assert [token.finish_reason for token in tokens] == [None] * end + ["stop"]


def test_an_answer_ends_with_length_where_its_row_is_full(make_engine: MakeEngine, base: BaseModel) -> None:
    engine = make_engine(max_model_len=32)
    engine.start()
    tokens = list(engine.submit([5] * 10, greedy(1000), make_prefix(base, 6)))
    assert len(tokens) == 16
    assert tokens[-1].finish_reason == "length"
    longest = list(engine.submit([5] * 31, greedy(1000), None))
    assert [token.finish_reason for token in longest] == ["length"]


def test_a_prompt_that_leaves_no_room_is_refused_with_both_numbers(make_engine: MakeEngine, base: BaseModel) -> None:
    engine = make_engine(max_model_len=32)
    with pytest.raises(PromptTooLong, match="40 tokens, and at most 25 fit") as refused:
        engine.submit([5] * 40, greedy(1), make_prefix(base, 6))
    assert (refused.value.limit, refused.value.given) == (25, 40)
    with pytest.raises(PromptTooLong, match="32 tokens, and at most 31 fit"):
        engine.submit([5] * 32, greedy(1), None)


@pytest.mark.parametrize("prompt", [[], [5, 258], [-1]])
def test_a_prompt_that_the_model_cannot_read_is_refused(engine: Engine, prompt: list[int]) -> None:
    with pytest.raises(ValueError, match="prompt"):
        engine.submit(prompt, greedy(1), None)
    assert engine.figures().healthy


def test_a_prefix_of_another_base_model_is_refused(engine: Engine, bases: dict[str, BaseModel]) -> None:
    with pytest.raises(WrongPrefix, match="another base model"):
        engine.submit([5], greedy(1), make_prefix(bases["gpt2"]))


def test_more_requests_than_rows_and_waiting_places_are_refused_until_one_is_done(make_engine: MakeEngine) -> None:
    engine = make_engine(max_num_seqs=1, max_waiting=2)
    streams = [engine.submit([5], greedy(4), None) for _ in range(3)]
    assert (engine.figures().running, engine.figures().waiting) == (0, 3)
    with pytest.raises(EngineFull, match="Try again"):
        engine.submit([5], greedy(4), None)
    engine.start()
    ids(streams[0])
    assert len(ids(engine.submit([5], greedy(4), None))) == 4


def test_a_cancelled_request_ends_and_gives_its_row_to_the_next(make_engine: MakeEngine, base: BaseModel) -> None:
    engine = make_engine(max_num_seqs=1)
    engine.start()
    prefix = make_prefix(base, 5, seed=3)
    with engine.submit([5], greedy(250), make_prefix(base)) as left:
        next(left)
        waiting = engine.submit([6, 7], greedy(10), prefix)
    rest = list(left)
    assert len(rest) < 249
    assert all(token.finish_reason is None for token in rest)
    assert ids(waiting) == answer_alone(base, [6, 7], prefix, 10)
    left.cancel()
    assert (engine.figures().running, engine.figures().waiting) == (0, 0)


def test_a_request_cancelled_while_it_waits_never_runs(make_engine: MakeEngine) -> None:
    engine = make_engine(max_num_seqs=1)
    first, second = engine.submit([5], greedy(5), None), engine.submit([6], greedy(5), None)
    second.cancel()
    engine.start()
    assert ids(second) == []
    assert len(ids(first)) == 5
    assert engine.figures().generated_tokens == 5


def test_a_row_used_by_a_long_request_serves_a_shorter_one_as_if_new(make_engine: MakeEngine, base: BaseModel) -> None:
    engine = make_engine(max_num_seqs=1)
    engine.start()
    ids(engine.submit([9] * 180, greedy(60), make_prefix(base, 12)))
    for prefix in (None, make_prefix(base, 2, seed=8)):
        assert ids(engine.submit([5, 6], greedy(30), prefix)) == answer_alone(base, [5, 6], prefix, 30)


def test_a_seed_gives_the_same_answer_alone_and_among_others(make_engine: MakeEngine, base: BaseModel) -> None:
    engine = make_engine(max_num_seqs=8)
    engine.start()
    params = SamplingParams(temperature=0.9, top_p=0.9, top_k=60, seed=7, max_tokens=40)
    prefix = make_prefix(base, 5)
    alone = ids(engine.submit([5, 6, 7], params, prefix))
    crowd = [engine.submit([8, token], SamplingParams(max_tokens=50), None) for token in range(10, 14)]
    among = engine.submit([5, 6, 7], params, prefix)
    again = engine.submit([5, 6, 7], params, prefix)
    assert ids(among) == alone == ids(again)
    assert all(len(ids(stream)) == 50 for stream in crowd)
    other = SamplingParams(temperature=0.9, top_p=0.9, top_k=60, seed=8, max_tokens=40)
    assert ids(engine.submit([5, 6, 7], other, prefix)) != alone


def test_requests_without_a_seed_differ(engine: Engine) -> None:
    answers = {tuple(ids(engine.submit([5], SamplingParams(max_tokens=20), None))) for _ in range(3)}
    assert len(answers) == 3


def test_closing_ends_running_and_waiting_streams_and_the_door(make_engine: MakeEngine) -> None:
    engine = make_engine(max_num_seqs=1)
    engine.start()
    running, waiting = (engine.submit([5], greedy(250), None) for _ in range(2))
    next(running)
    engine.close()
    for stream in (running, waiting):
        with pytest.raises(EngineClosed):
            ids(stream)
        assert list(stream) == []
    with pytest.raises(EngineClosed):
        engine.submit([5], greedy(1), None)
    assert not engine.figures().healthy
    engine.close()


def test_closing_before_the_start_ends_what_waits(make_engine: MakeEngine) -> None:
    engine = make_engine()
    stream = engine.submit([5], greedy(1), None)
    engine.close()
    with pytest.raises(EngineClosed):
        next(stream)


def test_a_broken_loop_fails_every_stream_and_shows_as_unhealthy(make_engine: MakeEngine) -> None:
    base = make_tiny()  # its own: it will be broken
    engine = make_engine(base, max_num_seqs=1)
    engine.start()
    running, waiting = (engine.submit([5], greedy(250), None) for _ in range(2))
    next(running)
    broke: list[bool] = []
    engine.when_broken(lambda: broke.append(engine.figures().healthy))
    assert engine.figures().healthy
    assert broke == []
    del base.model.model.norm
    for stream in (running, waiting):
        with pytest.raises(EngineFailed, match="started again"):
            ids(stream)
    with pytest.raises(EngineFailed):
        engine.submit([5], greedy(1), None)
    figures = engine.figures()
    assert (figures.healthy, figures.running, figures.waiting) == (False, 0, 0)
    engine.when_broken(lambda: broke.append(True))
    assert broke == [False, True], "once, and whoever asks later is told at once"
