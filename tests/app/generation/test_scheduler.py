import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.generation.kv_cache import KVCache
from app.generation.sampling import SamplingParams
from app.generation.scheduler import FREE_CHUNKS, Scheduler
from app.generation.sequence import Sequence
from tuning.prefix import Prefix

ROWS, CAPACITY, CHUNK, PER_ROW = 3, 40, 8, 5
lengths = st.integers(1, 30)


def make_prefix(mark: float, length: int) -> Prefix:
    """A prefix of one layer whose every value is `mark`."""
    return Prefix((torch.full((1, length, 2), mark),), (torch.full((1, length, 2), -mark),), "fingerprint")


def make_scheduler() -> tuple[Scheduler, KVCache]:
    cache = KVCache(((1, 2),), ROWS, CAPACITY, torch.float32, torch.device("cpu"))
    return Scheduler(cache, CHUNK, PER_ROW), cache


def make_sequence(mark: int, prefix_length: int, prompt_length: int, strength: float = 1) -> Sequence:
    """With another strength than 1 and a prefix: one that has a twin."""
    prefix = make_prefix(mark, prefix_length) if prefix_length else None
    params = SamplingParams(temperature=0, voice_strength=strength)
    return Sequence([mark] * prompt_length, params, prefix, room=8)


def read(parts: list[tuple[Sequence, int]]) -> None:
    """What the runner does with prompts, without a model."""
    for sequence, size in parts:
        assert sequence.next_prompt_tokens(size) == [sequence.prompt[0]] * size
        sequence.length += size


def check(scheduler: Scheduler, cache: KVCache) -> None:
    """Each has a row of its own, which holds its own prefix and nothing else, and free rows are zero."""
    of_row = {sequence.row: sequence for sequence in scheduler.running}
    assert len(of_row) == len(scheduler.running)
    assert None not in of_row
    for sequence in scheduler.running:
        if sequence.twin is not None:
            assert sequence.twin in scheduler.running
            assert sequence.num_prompt_left == sequence.twin.num_prompt_left
    layer = cache.rows[0]
    for row in range(ROWS):
        held = torch.zeros(CAPACITY + 1, 2)
        if row in of_row:
            held[: of_row[row].num_virtual_tokens] = float(of_row[row].prompt[0])
        assert torch.equal(layer.keys[row, 0], held)
        assert torch.equal(layer.values[row, 0], -held)


def one_of(rows: list[Sequence], number: int) -> Sequence:
    """One that is nobody's twin."""
    own = [sequence for sequence in rows if not sequence.is_twin]
    return own[number % len(own)]


def limit_of(scheduler: Scheduler) -> int:
    writing = len(scheduler.writing)
    crowded = min(scheduler.waiting.num_ready, ROWS - len(scheduler.running)) > writing
    return max(CHUNK, PER_ROW * writing) * (FREE_CHUNKS if crowded or not writing else 1)


arrivals = st.tuples(st.sampled_from(("arrive", "arrive with a twin", "arrive twice")), st.integers(0, 5), lengths)
departures = st.tuples(st.sampled_from(("finish", "cancel", "cancel waiting")), st.integers(0, 9), st.just(0))
steps = st.tuples(st.just("step"), st.just(0), st.just(0))


@given(st.lists(st.one_of(arrivals, departures, steps), max_size=60))
@settings(max_examples=150, deadline=None)
def test_rows_stay_whole_whoever_comes_and_goes(events: list[tuple[str, int, int]]) -> None:
    scheduler, cache = make_scheduler()
    admitted: list[int] = []
    for mark, (kind, first, second) in enumerate(events, start=1):
        if kind.startswith("arrive"):
            strength = 0.5 if kind == "arrive with a twin" else 1
            kin = [make_sequence(mark, first, second, strength) for _ in range(2 if kind == "arrive twice" else 1)]
            for sequence in kin:
                sequence.kin = kin
            scheduler.waiting.extend(kin)
        elif kind == "step":
            limit = limit_of(scheduler)
            parts = scheduler.next_parts()
            assert sum(size for _, size in parts) <= limit
            admitted += [sequence.prompt[0] for sequence, _ in parts if sequence.prompt[0] not in admitted]
            read(parts)
            reading = {sequence.prompt[0] for sequence in scheduler.running if sequence.num_prompt_left}
            assert len(reading) <= 1, "only the last one that came is half read"
        elif kind == "finish" and scheduler.writing:
            scheduler.release_all(one_of(scheduler.writing, first))
        elif kind == "cancel" and scheduler.running:
            one_of(scheduler.running, first).cancelled = True
            assert len(scheduler.drop_cancelled()) == 1
        elif kind == "cancel waiting" and scheduler.waiting:
            waiting = list(scheduler.waiting)
            waiting[first % len(waiting)].cancelled = True
            assert len(scheduler.drop_cancelled()) == 1
        check(scheduler, cache)


def test_waiting_requests_are_admitted_as_rows_fall_free_and_nobody_is_put_back() -> None:
    scheduler, _ = make_scheduler()
    sequences = [make_sequence(mark, 0, 2) for mark in range(1, 6)]
    scheduler.waiting.extend(sequences)
    read(scheduler.next_parts())
    assert scheduler.writing == sequences[:3]
    assert scheduler.next_parts() == []
    scheduler.release_all(sequences[1])
    read(scheduler.next_parts())
    assert scheduler.writing == [sequences[0], sequences[2], sequences[3]]
    assert sequences[3].row == 1
    assert scheduler.has_work


def test_owners_take_turns_for_rows() -> None:
    scheduler, _ = make_scheduler()
    flood, late = [make_sequence(mark, 0, 2) for mark in range(1, 6)], make_sequence(9, 0, 2)
    late.owner = "somebody else"
    scheduler.waiting.extend(flood[:3])
    read(scheduler.next_parts())
    scheduler.waiting.extend([*flood[3:], late])
    scheduler.release_all(flood[0])
    scheduler.release_all(flood[1])
    assert [sequence for sequence, _ in scheduler.next_parts()] == [flood[3], late]


def test_a_long_prompt_is_read_in_chunks_and_the_last_one_takes_others_along() -> None:
    scheduler, _ = make_scheduler()
    talking, long, short = make_sequence(9, 0, 1), make_sequence(1, 3, 25), make_sequence(2, 0, 3)
    scheduler.waiting.extend([talking])
    read(scheduler.next_parts())
    seen = []
    for comes in ([long], [short], [], []):
        scheduler.waiting.extend(comes)
        parts = scheduler.next_parts()
        seen.append([(sequence.prompt[0], size) for sequence, size in parts])
        read(parts)
    assert seen == [[(1, 8)], [(1, 8)], [(1, 8)], [(1, 1), (2, 3)]]
    assert scheduler.writing == [talking, long, short]


def test_beside_many_that_write_a_chunk_is_as_large_as_their_step_allows() -> None:
    cache = KVCache(((1, 2),), 6, CAPACITY, torch.float32, torch.device("cpu"))
    scheduler = Scheduler(cache, 2, chunk_per_row=3)
    for writing in range(1, 4):
        scheduler.waiting.extend([make_sequence(writing, 0, 1)])
        read(scheduler.next_parts())
    scheduler.waiting.extend([make_sequence(9, 0, 20)])
    assert [size for _, size in scheduler.next_parts()] == [3 * 3]


@pytest.mark.parametrize(("rows", "waiting", "tokens"), [(6, 2, CHUNK), (6, 3, 4 * CHUNK), (4, 3, CHUNK)])
def test_four_times_as_much_is_read_where_more_could_begin_than_write(rows: int, waiting: int, tokens: int) -> None:
    scheduler = Scheduler(KVCache(((1, 2),), rows, CAPACITY, torch.float32, torch.device("cpu")), CHUNK)
    scheduler.waiting.extend([make_sequence(mark, 0, 1) for mark in (1, 2)])
    read(scheduler.next_parts())
    assert len(scheduler.writing) == 2
    scheduler.waiting.extend([make_sequence(3 + number, 0, 2 * CHUNK) for number in range(waiting)])
    assert sum(size for _, size in scheduler.next_parts()) == tokens


def test_answers_that_wait_for_their_request_to_be_read_are_no_crowd() -> None:
    scheduler = Scheduler(KVCache(((1, 2),), 8, CAPACITY, torch.float32, torch.device("cpu")), CHUNK)
    scheduler.waiting.extend([make_sequence(mark, 0, 1) for mark in (1, 2)])
    read(scheduler.next_parts())
    kin = [make_sequence(3, 0, 4 * CHUNK) for _ in range(5)]
    for sequence in kin:
        sequence.kin = kin
    scheduler.waiting.extend(kin[:1])
    for _ in range(2):
        parts = scheduler.next_parts()
        assert [size for _, size in parts] == [CHUNK], "those who write wait no longer than beside a single answer"
        read(parts)
        scheduler.waiting.extend(kin[1:] if not scheduler.waiting else [])


def test_a_prompt_is_read_in_larger_parts_where_nobody_writes() -> None:
    scheduler, _ = make_scheduler()
    scheduler.waiting.extend([make_sequence(1, 3, 34)])
    assert [size for _, size in scheduler.next_parts()] == [4 * CHUNK]


def test_no_finished_prompt_is_read_again() -> None:
    scheduler, _ = make_scheduler()
    assert not scheduler.has_work
    scheduler.waiting.extend([make_sequence(1, 0, 2)])
    read(scheduler.next_parts())
    assert scheduler.next_parts() == []


@pytest.mark.parametrize("strength", [1, 0.5])
def test_of_several_answers_one_reads_the_prompt_and_the_others_its_last_token(strength: float) -> None:
    cache = KVCache(((1, 2),), 6, CAPACITY, torch.float32, torch.device("cpu"))
    scheduler = Scheduler(cache, 4 * CHUNK)
    kin = [make_sequence(7, 3, 12, strength) for _ in range(3)]
    for sequence in kin:
        sequence.kin = kin
    scheduler.waiting.extend(kin)
    first = scheduler.next_parts()
    assert {sequence for sequence, _ in first} == set(kin[0].rows)
    read(first)
    cache.rows[0].keys[:, 0, 5] = 42  # as if the fifth position had been computed
    second = scheduler.next_parts()
    assert second == [(one, 1) for sequence in kin[1:] for one in sequence.rows]
    assert all(cache.rows[0].keys[one.row, 0, 5, 0] == 42 for one, _ in second)


def test_where_the_one_that_reads_leaves_another_answer_reads_from_the_beginning() -> None:
    scheduler, cache = make_scheduler()
    kin = [make_sequence(7, 3, 35) for _ in range(2)]
    for sequence in kin:
        sequence.kin = kin
    scheduler.waiting.extend([make_sequence(1, 0, 1)])
    read(scheduler.next_parts())
    scheduler.waiting.extend(kin)
    read(scheduler.next_parts())
    assert 1 < kin[0].num_prompt_left < 35
    kin[0].cancelled = True
    scheduler.drop_cancelled()
    assert (kin[1], 8) in scheduler.next_parts()
    check(scheduler, cache)
