"""What a process holds opened: never more than its bytes, never another's, opened once for all who ask at once."""

import mmap
import random
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from app.api.prefix_memory import FoundPrefix, PrefixMemory, in_pages, packed
from storage.errors import IntegrityError
from storage.prefixes import PrefixAddress
from tests.app.api.test_completions import eventually
from tests.tiny_model import make_prefix
from tuning.base_model import BaseModel
from tuning.prefix import Prefix

CPU = torch.device("cpu")
HERE = PrefixAddress("user-a", "voice-a", 1, "f" * 64)
ELSEWHERE = [
    HERE,
    replace(HERE, user_id="user-b"),
    replace(HERE, voice_id="voice-b"),
    replace(HERE, version=2),
    replace(HERE, base_fingerprint="0" * 64),
]


@pytest.fixture(scope="module")
def prefix(base: BaseModel) -> Prefix:
    return make_prefix(base)


def marked(prefix: Prefix, address: PrefixAddress) -> Prefix:
    """One whose every value says of which address it is."""
    mark = float(ELSEWHERE.index(address) + 1)
    keys, values = (tuple(torch.full_like(tensor, mark) for tensor in own) for own in (prefix.keys, prefix.values))
    return Prefix(keys, values, prefix.base_fingerprint)


def whose(prefix: Prefix) -> PrefixAddress:
    (mark,) = {float(value) for tensor in (*prefix.keys, *prefix.values) for value in tensor.unique()}
    return ELSEWHERE[int(mark) - 1]


def opener(prefix: Prefix, opened: list[PrefixAddress], address: PrefixAddress) -> Callable[[], FoundPrefix]:
    def open_it() -> FoundPrefix:
        opened.append(address)
        return FoundPrefix(marked(prefix, address), "cache")

    return open_it


def memory_of(max_bytes: int) -> PrefixMemory:
    return PrefixMemory(max_bytes, CPU, torch.float64)


def room(prefix: Prefix, count: int) -> int:
    return count * in_pages(prefix.num_bytes)


def test_a_held_prefix_is_opened_once_and_says_where_it_came_from(prefix: Prefix) -> None:
    memory, opened = memory_of(room(prefix, 1)), list[PrefixAddress]()
    first, second = (memory.get(HERE, opener(prefix, opened, HERE)) for _ in range(2))
    assert opened == [HERE]
    assert second.prefix is first.prefix
    assert (first.origin, second.origin) == ("cache", "memory")
    memory.forget([HERE, ELSEWHERE[1]])
    assert (memory.num_bytes, memory.addresses()) == (0, [])
    assert memory.get(HERE, opener(prefix, opened, HERE)).origin == "cache"


def test_addresses_that_differ_in_any_part_are_different(prefix: Prefix) -> None:
    memory = memory_of(room(prefix, len(ELSEWHERE)))
    for origin in ("cache", "memory"):
        found = [memory.get(address, opener(prefix, [], address)) for address in ELSEWHERE]
        assert [whose(one.prefix) for one in found] == ELSEWHERE
        assert {one.origin for one in found} == {origin}


def test_beyond_its_bytes_what_was_used_least_lately_goes(prefix: Prefix) -> None:
    memory, opened = memory_of(room(prefix, 4) - 1), list[PrefixAddress]()
    a, b, c, d, _ = ELSEWHERE
    for address in (a, b, c, a, d, a, b):
        memory.get(address, opener(prefix, opened, address))
    assert opened == [a, b, c, d, b]
    assert memory.addresses() == [d, a, b]
    assert memory.num_bytes == room(prefix, 3)


def test_what_has_no_room_is_given_and_not_held(prefix: Prefix) -> None:
    for max_bytes in (0, room(prefix, 1) - 1):
        memory, opened = memory_of(max_bytes), list[PrefixAddress]()
        for _ in range(2):
            assert memory.get(HERE, opener(prefix, opened, HERE)).origin == "cache"
        assert (len(opened), memory.num_bytes) == (2, 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_held_prefix_has_its_values_in_the_engines_type_and_a_block_of_its_own(
    prefix: Prefix, dtype: torch.dtype
) -> None:
    held = packed(prefix, CPU, dtype)
    assert held.digest == prefix.to(dtype=dtype).digest
    assert held.layer_shapes == prefix.layer_shapes
    assert {tensor.dtype for tensor in (*held.keys, *held.values)} == {dtype}
    assert len({tensor.untyped_storage().data_ptr() for tensor in (*held.keys, *held.values)}) == 1
    assert held.keys[0].data_ptr() != prefix.keys[0].data_ptr()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_what_is_forgotten_goes_back_to_the_system(base: BaseModel) -> None:
    large = make_prefix(base, num_virtual_tokens=8192)
    memory = memory_of(room(large, len(ELSEWHERE)))
    for address in ELSEWHERE:
        memory.get(address, lambda: FoundPrefix(large, "cache"))
    assert memory.num_bytes == room(large, len(ELSEWHERE)) > 16 << 20
    held = resident_bytes()
    memory.forget(ELSEWHERE)
    assert resident_bytes() < held - room(large, len(ELSEWHERE)) * 0.9


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


def test_all_who_ask_at_once_get_what_one_opens_and_its_error_too(prefix: Prefix) -> None:
    """The memory has no room, so that only waiting for the one that opens keeps the others from opening."""
    memory, release = memory_of(0), threading.Event()
    opened: list[int] = []
    failing = True

    def open_it() -> FoundPrefix:
        opened.append(1)
        release.wait(10)
        if failing:
            raise IntegrityError("these bytes were changed")
        return FoundPrefix(prefix, "database")

    def ask(_: int) -> FoundPrefix | IntegrityError:
        try:
            return memory.get(HERE, open_it)
        except IntegrityError as wrong:
            return wrong

    for failing in (True, False):
        opened.clear()
        release.clear()
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(ask, range(8))
            try:
                assert eventually(lambda: waiting(memory) == 7)
            finally:
                release.set()
            given = list(answers)
        assert len(opened) == 1
        assert len(set(map(id, given))) == 1
        assert isinstance(given[0], IntegrityError) is failing
    assert memory._opening == {}


def waiting(memory: PrefixMemory) -> int:
    coming = list(memory._opening.values())
    return sum(len(one._condition._waiters) for one in coming)  # type: ignore[attr-defined]  # it is told nowhere else


def test_nobody_ever_gets_anothers_however_many_come_and_go(prefix: Prefix) -> None:
    memory = memory_of(room(prefix, 2))

    def ask(seed: int) -> int:
        drawn, wrong = random.Random(seed), 0
        for _ in range(300):
            address = drawn.choice(ELSEWHERE)
            wrong += whose(memory.get(address, opener(prefix, [], address)).prefix) != address
            if drawn.random() < 0.1:
                memory.forget([drawn.choice(ELSEWHERE)])
            assert memory.num_bytes <= room(prefix, 2)
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [0] * 8
    assert memory.num_bytes == room(prefix, len(memory.addresses()))
