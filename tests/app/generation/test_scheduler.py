import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.generation.kv_cache import KVCache
from app.generation.sampling import SamplingParams
from app.generation.scheduler import Scheduler
from app.generation.sequence import Sequence
from tuning.prefix import Prefix

ROWS, CAPACITY, CHUNK = 3, 40, 8


def make_prefix(mark: float, length: int) -> Prefix:
    """A prefix of one layer whose every value is `mark`."""
    return Prefix((torch.full((1, length, 2), mark),), (torch.full((1, length, 2), -mark),), "fingerprint")


def make_scheduler() -> tuple[Scheduler, KVCache]:
    cache = KVCache(((1, 2),), ROWS, CAPACITY, torch.float32, torch.device("cpu"))
    return Scheduler(cache, CHUNK), cache


def make_sequence(mark: int, prefix_length: int, prompt_length: int, strength: float = 1) -> Sequence:
    """With another strength than 1 and a prefix: one that has a twin."""
    prefix = make_prefix(mark, prefix_length) if prefix_length else None
    params = SamplingParams(temperature=0, voice_strength=strength)
    return Sequence([mark] * prompt_length, params, prefix, room=8)


def cache_prompts(scheduler: Scheduler, batch: list[tuple[Sequence, int]]) -> None:
    """What the engine and the runner do with a batch, without a model."""
    for sequence, size in batch:
        assert sequence.next_prompt_tokens(size) == [sequence.prompt[0]] * size
        sequence.length += size
    for sequence, _ in batch:
        if sequence.num_prompt_left == 0:
            scheduler.start_decoding(sequence)


def check(scheduler: Scheduler, cache: KVCache) -> None:
    """Rows have no gaps, hold their own prefix and nothing else, and free rows are zero."""
    assert [sequence.row for sequence in scheduler.running] == list(range(len(scheduler.running)))
    reading = scheduler.running[len(scheduler.decoding) :]
    assert len(reading) <= 1 or any(set(reading) == set(sequence.rows) for sequence in reading)
    for sequence in scheduler.running:
        if sequence.twin is not None:
            assert sequence.twin in scheduler.running
            assert (sequence in scheduler.decoding) == (sequence.twin in scheduler.decoding)
            assert sequence.num_prompt_left == sequence.twin.num_prompt_left
    assert all(sequence.num_prompt_left == 0 for sequence in scheduler.decoding)
    layer = cache.rows[0]
    for row, sequence in enumerate(scheduler.running):
        held = torch.zeros(CAPACITY + 1, 2)
        held[: sequence.num_virtual_tokens] = float(sequence.prompt[0])
        assert torch.equal(layer.keys[row, 0], held)
        assert torch.equal(layer.values[row, 0], -held)
    assert not layer.keys[len(scheduler.running) :].any()
    assert not layer.values[len(scheduler.running) :].any()


def one_of(rows: list[Sequence], number: int) -> Sequence:
    """One that is nobody's twin."""
    own = [sequence for sequence in rows if not sequence.is_twin]
    return own[number % len(own)]


arrivals = st.tuples(st.sampled_from(("arrive", "arrive with a twin")), st.integers(0, 5), st.integers(1, 30))
departures = st.tuples(st.sampled_from(("finish", "cancel", "cancel waiting")), st.integers(0, 9), st.just(0))
steps = st.tuples(st.just("step"), st.just(0), st.just(0))


@given(st.lists(st.one_of(arrivals, departures, steps), max_size=60))
@settings(max_examples=150, deadline=None)
def test_rows_stay_whole_and_without_gaps_whoever_comes_and_goes(events: list[tuple[str, int, int]]) -> None:
    scheduler, cache = make_scheduler()
    admitted: list[int] = []
    for mark, (kind, first, second) in enumerate(events, start=1):
        if kind.startswith("arrive"):
            scheduler.waiting.append(make_sequence(mark, first, second, strength=1 if kind == "arrive" else 0.5))
        elif kind == "step":
            limit = CHUNK if scheduler.decoding else 4 * CHUNK
            batch = scheduler.next_prefill()
            assert len(batch) * max((size for _, size in batch), default=0) <= limit
            admitted += [sequence.prompt[0] for sequence, _ in batch if sequence.prompt[0] not in admitted]
            cache_prompts(scheduler, batch)
        elif kind == "finish" and scheduler.decoding:
            scheduler.release_all(one_of(scheduler.decoding, first))
        elif kind == "cancel" and scheduler.running:
            one_of(scheduler.running, first).cancelled = True
            assert len(scheduler.drop_cancelled()) == 1
        elif kind == "cancel waiting" and scheduler.waiting:
            scheduler.waiting[first % len(scheduler.waiting)].cancelled = True
            assert len(scheduler.drop_cancelled()) == 1
        check(scheduler, cache)
    assert admitted == sorted(admitted)


def test_waiting_requests_move_up_as_rows_fall_free() -> None:
    scheduler, _ = make_scheduler()
    sequences = [make_sequence(mark, 0, 2) for mark in range(1, 6)]
    scheduler.waiting.extend(sequences)
    cache_prompts(scheduler, scheduler.next_prefill())
    assert scheduler.decoding == sequences[:3]
    assert scheduler.next_prefill() == []
    scheduler.release(sequences[1])
    cache_prompts(scheduler, scheduler.next_prefill())
    assert scheduler.decoding == [sequences[0], sequences[2], sequences[3]]
    assert scheduler.has_work


def test_a_long_prompt_is_cached_in_chunks_and_the_last_one_takes_others_along() -> None:
    scheduler, _ = make_scheduler()
    talking, long, short = make_sequence(9, 0, 1), make_sequence(1, 3, 18), make_sequence(2, 0, 3)
    scheduler.waiting.append(talking)
    cache_prompts(scheduler, scheduler.next_prefill())
    scheduler.waiting.extend([long, short])
    seen = []
    for _ in range(3):
        batch = scheduler.next_prefill()
        seen.append([(sequence.prompt[0], size) for sequence, size in batch])
        cache_prompts(scheduler, batch)
    assert seen == [[(1, 8)], [(1, 8)], [(1, 2), (2, 3)]]
    assert scheduler.decoding == [talking, long, short]


def test_a_prompt_is_cached_in_larger_parts_where_nobody_decodes() -> None:
    scheduler, _ = make_scheduler()
    scheduler.waiting.append(make_sequence(1, 3, 34))
    assert [size for _, size in scheduler.next_prefill()] == [4 * CHUNK]


def test_no_finished_prompt_is_run_again() -> None:
    scheduler, _ = make_scheduler()
    assert not scheduler.has_work
    scheduler.waiting.append(make_sequence(1, 0, 2))
    cache_prompts(scheduler, scheduler.next_prefill())
    assert scheduler.next_prefill() == []
