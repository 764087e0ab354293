"""Lanes: independent passes through the model side by side, on a CPU. Owns how many and with how many threads each;
knows nothing of what a pass computes.

Small models keep one thread busy and two of them badly, where threads sleep while they wait, as a worker's do: two
passes with one thread each took two thirds of the time of one pass after the other with two (`benchmarks.step_time`).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    device: torch.device, function: Callable[[Item], Result], items: Sequence[Item], *, most: int | None = None
) -> list[Result]:
    """`function` of every item, in the items' order. On a CPU as many run at once as torch has threads, which are
    shared out among them, but no more than `most`; elsewhere one after the other.

    Gradient mode and autocast are each thread's own: `function` must enter them itself.
    """
    threads = torch.get_num_threads()
    lanes = min(threads, len(items), most or threads) if device.type == "cpu" else 1
    if lanes <= 1:
        return [function(item) for item in items]

    def in_lane(item: Item) -> Result:
        torch.set_num_threads(threads // lanes)
        return function(item)

    try:
        return list(_pool(lanes).map(in_lane, items))
    finally:
        torch.set_num_threads(threads)


@cache
def _pool(lanes: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(lanes, thread_name_prefix="lane")
