"""What a process holds opened: never more than its bytes, never another's, opened once for all who ask at once."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from app.api.prefix_memory import FoundPrefix, PrefixMemory
from storage.errors import IntegrityError
from storage.prefixes import PrefixAddress
from tests.app.api.test_completions import eventually
from tests.tiny_model import make_prefix
from tuning.base_model import BaseModel
from tuning.prefix import Prefix

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


def fresh(prefix: Prefix) -> Prefix:
    return Prefix(prefix.keys, prefix.values, prefix.base_fingerprint)


def opener(prefix: Prefix, opened: list[PrefixAddress], address: PrefixAddress) -> Callable[[], FoundPrefix]:
    def open_it() -> FoundPrefix:
        opened.append(address)
        return FoundPrefix(fresh(prefix), "cache")

    return open_it


def test_a_held_prefix_is_opened_once_and_says_where_it_came_from(prefix: Prefix) -> None:
    memory, opened = PrefixMemory(prefix.num_bytes), list[PrefixAddress]()
    first, second = (memory.get(HERE, opener(prefix, opened, HERE)) for _ in range(2))
    assert opened == [HERE]
    assert second.prefix is first.prefix
    assert (first.origin, second.origin) == ("cache", "memory")
    memory.forget([HERE, ELSEWHERE[1]])
    assert (memory.num_bytes, memory.addresses()) == (0, [])
    assert memory.get(HERE, opener(prefix, opened, HERE)).origin == "cache"


def test_addresses_that_differ_in_any_part_are_different(prefix: Prefix) -> None:
    memory = PrefixMemory(len(ELSEWHERE) * prefix.num_bytes)
    given = [memory.get(address, opener(prefix, [], address)).prefix for address in ELSEWHERE]
    assert len(set(map(id, given))) == len(ELSEWHERE)
    assert [memory.get(address, opener(prefix, [], address)).prefix for address in ELSEWHERE] == given


def test_beyond_its_bytes_what_was_used_least_lately_goes(prefix: Prefix) -> None:
    memory, opened = PrefixMemory(3 * prefix.num_bytes + 1), list[PrefixAddress]()
    a, b, c, d, _ = ELSEWHERE
    for address in (a, b, c, a, d, a, b):
        memory.get(address, opener(prefix, opened, address))
    assert opened == [a, b, c, d, b]
    assert memory.addresses() == [d, a, b]
    assert memory.num_bytes == 3 * prefix.num_bytes


def test_what_has_no_room_is_given_and_not_held(prefix: Prefix) -> None:
    for max_bytes in (0, prefix.num_bytes - 1):
        memory, opened = PrefixMemory(max_bytes), list[PrefixAddress]()
        for _ in range(2):
            assert memory.get(HERE, opener(prefix, opened, HERE)).origin == "cache"
        assert (len(opened), memory.num_bytes) == (2, 0)


def test_all_who_ask_at_once_get_what_one_opens_and_its_error_too(prefix: Prefix) -> None:
    """The memory has no room, so that only waiting for the one that opens keeps the others from opening."""
    memory, asked, release = PrefixMemory(0), threading.Semaphore(0), threading.Event()
    opened: list[int] = []
    failing = True

    def open_it() -> FoundPrefix:
        opened.append(1)
        release.wait(10)
        if failing:
            raise IntegrityError("these bytes were changed")
        return FoundPrefix(fresh(prefix), "database")

    def ask(_: int) -> FoundPrefix | IntegrityError:
        asked.release()
        try:
            return memory.get(HERE, open_it)
        except IntegrityError as wrong:
            return wrong

    for failing in (True, False):
        opened.clear()
        release.clear()
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(ask, range(8))
            for _ in range(8):
                asked.acquire()
            assert eventually(lambda: len(memory._opening) == 1 and waiting(memory) == 7)
            release.set()
            given = list(answers)
        assert len(opened) == 1
        assert len(set(map(id, given))) == 1
        assert isinstance(given[0], IntegrityError) is failing
    assert memory._opening == {}


def waiting(memory: PrefixMemory) -> int:
    (coming,) = memory._opening.values()
    return len(coming._condition._waiters)  # type: ignore[attr-defined]  # the standard library tells it nowhere else


def test_nobody_ever_gets_anothers_however_many_come_and_go(prefix: Prefix) -> None:
    memory = PrefixMemory(2 * prefix.num_bytes)
    made: dict[int, PrefixAddress] = {}
    kept: list[Prefix] = []  # so that no id is given twice

    def open_as(address: PrefixAddress) -> FoundPrefix:
        mine = fresh(prefix)
        kept.append(mine)
        made[id(mine)] = address
        return FoundPrefix(mine, "cache")

    def ask(seed: int) -> int:
        drawn, wrong = random.Random(seed), 0
        for _ in range(500):
            address = drawn.choice(ELSEWHERE)
            found = memory.get(address, lambda address=address: open_as(address))  # type: ignore[misc]
            wrong += made[id(found.prefix)] != address
            if drawn.random() < 0.1:
                memory.forget([drawn.choice(ELSEWHERE)])
            assert memory.num_bytes <= 2 * prefix.num_bytes
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [0] * 8
    assert memory.num_bytes == len(memory.addresses()) * prefix.num_bytes
