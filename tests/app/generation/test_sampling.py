import math
import random
from collections import Counter

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.generation.sampling import SamplingParams, sample, uniform_numbers

SIZE = 12


def make_logits(rows: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(rows, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def oracle(logits: list[float], params: SamplingParams) -> dict[int, float]:
    """Token -> probability by the definitions, one row, plain Python. Likeliest first."""
    weights = [math.exp(logit / params.temperature) for logit in logits]
    ordered = sorted(range(len(weights)), key=lambda token: -weights[token])
    if params.top_k:
        ordered = ordered[: params.top_k]
    total, reached = sum(weights[token] for token in ordered), 0.0
    kept: list[int] = []
    for token in ordered:
        if kept and params.top_p < 1 and reached >= params.top_p * total:  # 1 keeps even what rounding would leave out
            break
        kept.append(token)
        reached += weights[token]
    return {token: weights[token] / reached for token in kept}


parameters = st.builds(
    SamplingParams,
    temperature=st.floats(0.2, 3),
    top_p=st.one_of(st.just(1.0), st.floats(0, 1)),
    top_k=st.integers(0, SIZE + 3),
)


@given(st.lists(st.tuples(parameters, st.floats(0, 1, exclude_max=True)), min_size=1, max_size=6), st.integers(0, 99))
@settings(max_examples=200, deadline=None)
@example([(SamplingParams(temperature=0.21875), 0.0), (SamplingParams(), 0.0), (SamplingParams(), 0.0)], 0)
def test_a_draw_follows_the_distribution_that_top_k_and_top_p_leave(
    rows: list[tuple[SamplingParams, float]], seed: int
) -> None:
    logits = make_logits(len(rows), seed)
    chosen = sample(logits, [params for params, _ in rows], [uniform for _, uniform in rows])
    for row, ((params, uniform), token) in enumerate(zip(rows, chosen, strict=True)):
        probabilities = oracle(logits[row].tolist(), params)
        order = list(probabilities) if params.top_k or params.top_p < 1 else sorted(probabilities)
        below = sum(probabilities[other] for other in order[: order.index(token)])
        assert below - 1e-9 <= uniform <= below + probabilities[token] + 1e-9


@pytest.mark.parametrize("params", [SamplingParams(temperature=0.7, top_k=4), SamplingParams(top_p=0.8)])
def test_only_what_is_kept_is_drawn_and_as_often_as_it_should_be(params: SamplingParams) -> None:
    logits, draws = make_logits(1), 4000
    uniforms = uniform_numbers(3, draws)
    counts = Counter(sample(logits.expand(draws, -1), [params] * draws, uniforms))
    expected = oracle(logits[0].tolist(), params)
    assert set(counts) == set(expected)
    for token, probability in expected.items():
        assert abs(counts[token] / draws - probability) < 0.03


def test_a_row_draws_the_same_whoever_shares_the_batch() -> None:
    logits, params = make_logits(1), SamplingParams(temperature=0.8)
    neighbours = (SamplingParams(temperature=0), SamplingParams(top_k=3), SamplingParams(top_p=0.5), SamplingParams())
    for number in uniform_numbers(1, 50):
        alone = sample(logits, [params], [number])
        for neighbour in neighbours:
            both = sample(torch.cat([make_logits(1, 9), logits]), [neighbour, params], [0.3, number])
            assert both[1:] == alone


@pytest.mark.parametrize("params", [SamplingParams(top_p=0.9), SamplingParams(top_k=40, top_p=0.9)])
def test_among_equals_a_number_falls_on_the_same_token_whoever_shares_the_batch(params: SamplingParams) -> None:
    """16 bits have many equals; a flat neighbour needs the whole vocabulary to be looked at."""
    generator = torch.Generator().manual_seed(0)
    logits = (8 * torch.randn(1, 3000, generator=generator)).bfloat16().round()
    flat = torch.zeros_like(logits)
    for number in uniform_numbers(2, 200):
        alone = sample(logits, [params], [number])
        assert sample(torch.cat([flat, logits]), [SamplingParams(top_p=0.99), params], [0.5, number])[1:] == alone


@pytest.mark.parametrize("spread", [0.01, 1, 8])
def test_a_large_vocabulary_is_cut_exactly_where_a_small_one_is(spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = spread * torch.randn(1, 3000, generator=generator, dtype=torch.float64)
    many = (
        SamplingParams(top_k=63),
        SamplingParams(top_k=64),
        SamplingParams(top_k=65),
        SamplingParams(top_k=2000),
        SamplingParams(top_p=0.001),
        SamplingParams(top_p=0.5),
        SamplingParams(top_p=0.999),
        SamplingParams(top_k=1500, top_p=0.7),
        SamplingParams(top_k=9999, top_p=0.3),
    )
    for params in many:
        probabilities = oracle(logits[0].tolist(), params)
        reached = 0.0
        for token, probability in list(probabilities.items())[-3:]:  # the last ones that are kept
            reached = sum(list(probabilities.values())[: list(probabilities).index(token)])
            assert sample(logits, [params], [reached + probability / 2]) == [token]


def test_greedy_rows_take_the_likeliest_token_beside_rows_that_draw() -> None:
    logits = make_logits(4)
    params = [SamplingParams(temperature=0), SamplingParams(), SamplingParams(temperature=0), SamplingParams(top_k=1)]
    chosen = sample(logits, params, [0.99] * 4)
    best = logits.argmax(-1).tolist()
    assert [chosen[row] for row in (0, 2, 3)] == [best[row] for row in (0, 2, 3)]


@pytest.mark.parametrize("temperature", [1e-46, 1e-9, 9e-7])
def test_a_temperature_that_32_bits_cannot_divide_by_is_greedy(temperature: float) -> None:
    assert SamplingParams(temperature=temperature).greedy
    assert not SamplingParams(temperature=1e-6).greedy


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_tiny_temperature_takes_the_likeliest_and_never_overflows(dtype: torch.dtype) -> None:
    logits = (1000 * make_logits(3)).to(dtype)
    assert sample(logits, [SamplingParams(temperature=1e-6)] * 3, [0.5] * 3) == logits.argmax(-1).tolist()


def test_the_last_number_below_one_still_draws_a_token_that_was_kept() -> None:
    logits = make_logits(1).float()
    for top_k in range(1, SIZE):
        (token,) = sample(logits, [SamplingParams(top_k=top_k)], [math.nextafter(1, 0)])
        assert token in logits[0].topk(top_k).indices.tolist()


@pytest.mark.parametrize("params", [SamplingParams(), SamplingParams(top_k=3), SamplingParams(top_p=0.5)])
@pytest.mark.parametrize("number", [0.0, 0.5, math.nextafter(1, 0)])
def test_a_row_that_broke_down_names_a_real_token_and_leaves_its_neighbour_alone(
    params: SamplingParams, number: float
) -> None:
    logits = torch.cat([torch.full((1, SIZE), math.nan, dtype=torch.float64), make_logits(1)])
    broken, sound = sample(logits, [params] * 2, [number] * 2)
    assert 0 <= broken < SIZE
    assert [sound] == sample(logits[1:], [params], [number])


def test_a_seed_fixes_the_numbers_and_none_draws_fresh_ones() -> None:
    assert uniform_numbers(5, 4) == uniform_numbers(5, 9)[:4]
    assert uniform_numbers(5, 4) != uniform_numbers(6, 4)
    assert uniform_numbers(None, 4) != uniform_numbers(None, 4)
    assert all(0 <= number < 1 for number in uniform_numbers(random.Random(0).randrange(-(2**63), 2**64), 100))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_p", 1.1),
        ("top_p", -0.1),
        ("top_p", math.nan),
        ("top_k", -1),
        ("max_tokens", 0),
        ("seed", 2**64),
    ],
)
def test_values_out_of_range_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        SamplingParams(**{field: value})  # type: ignore[arg-type]
