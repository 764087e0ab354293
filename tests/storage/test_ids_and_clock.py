"""Ids are readable, safe in URLs and never repeat; the clock is UTC epoch seconds."""

import re
import time

from storage import clock
from storage.ids import new_id


def test_an_id_says_its_kind_and_is_safe_in_urls() -> None:
    assert re.fullmatch(r"voice-[a-z2-7]{20}", new_id("voice"))


def test_ids_do_not_repeat() -> None:
    assert len({new_id("run") for _ in range(2000)}) == 2000


def test_the_clock_counts_epoch_seconds() -> None:
    assert abs(clock.now() - time.time()) < 1
