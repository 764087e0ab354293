"""The prefixes that this process holds opened, ready for the engine: bounded in bytes, the least lately used go first.

Decides nothing about who may use one: whoever asks comes with an address that storage has just given out
(`storage.prefixes.locate`), which names owner, voice, version and base model. Knows no request and no database.
"""

import mmap
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import torch

from storage.prefixes import PrefixAddress
from tuning.prefix import Prefix

Origin = Literal["memory", "cache", "database"]


@dataclass(frozen=True, eq=False)
class FoundPrefix:
    """An opened prefix, which nobody changes, and where it came from."""

    prefix: Prefix
    origin: Origin


class PrefixMemory:
    """Prefixes by address. Safe to share between threads.

    max_bytes: of all held together, in whole pages; what is being opened or still used just now comes on top.
    device, dtype: where and as what they are held.
    """

    def __init__(self, max_bytes: int, device: torch.device, dtype: torch.dtype) -> None:
        self._max_bytes = max_bytes
        self._device, self._dtype = device, dtype
        self._num_bytes = 0
        self._held: OrderedDict[PrefixAddress, Prefix] = OrderedDict()  # the least lately used first
        self._opening: dict[PrefixAddress, Future[FoundPrefix]] = {}
        self._lock = threading.Lock()

    def get(self, address: PrefixAddress, open_it: Callable[[], FoundPrefix]) -> FoundPrefix:
        """The prefix of this address: a held one, or the one that `open_it` opens, moved to where it is used.

        Of those who ask for the same address at once, one opens and the others wait for what comes of it, be it its
        error. An error is not kept: whoever asks next tries again.
        """
        with self._lock:
            held = self._held.get(address)
            if held is not None:
                self._held.move_to_end(address)
                return FoundPrefix(held, "memory")
            coming = self._opening.get(address)
            if coming is None:
                mine = self._opening[address] = Future[FoundPrefix]()
        return self._open(address, open_it, mine) if coming is None else coming.result()

    def addresses(self) -> list[PrefixAddress]:
        """Of all that are held."""
        with self._lock:
            return list(self._held)

    def forget(self, addresses: Iterable[PrefixAddress]) -> None:
        """Let go of these. An answer that is being written with one goes on."""
        with self._lock:
            for address in addresses:
                self._remove(address)

    @property
    def num_bytes(self) -> int:
        """Of all that are held."""
        with self._lock:
            return self._num_bytes

    def _open(
        self, address: PrefixAddress, open_it: Callable[[], FoundPrefix], waited_for: "Future[FoundPrefix]"
    ) -> FoundPrefix:
        try:
            opened = open_it()
            found = FoundPrefix(packed(opened.prefix, self._device, self._dtype), opened.origin)
        except BaseException as wrong:  # whatever it is, nobody may be left waiting
            with self._lock:
                del self._opening[address]
            waited_for.set_exception(wrong)
            raise
        with self._lock:
            self._keep(address, found.prefix)
            del self._opening[address]
        waited_for.set_result(found)
        return found

    def _keep(self, address: PrefixAddress, prefix: Prefix) -> None:
        if in_pages(prefix.num_bytes) > self._max_bytes:
            return
        self._held[address] = prefix
        self._num_bytes += in_pages(prefix.num_bytes)
        while self._num_bytes > self._max_bytes:
            self._remove(next(iter(self._held)))

    def _remove(self, address: PrefixAddress) -> None:
        prefix = self._held.pop(address, None)
        if prefix is not None:
            self._num_bytes -= in_pages(prefix.num_bytes)


def packed(prefix: Prefix, device: torch.device, dtype: torch.dtype) -> Prefix:
    """The same values in one block, on a CPU a mapping of its own: with its last user it goes back to the system, where
    pieces from an allocator that many threads share would leave holes between what stays. Elsewhere it is one transfer.

    Tensor by tensor: a pass over all of them is large enough for torch to start threads, beside those of the engine.
    """
    tensors = (*prefix.keys, *prefix.values)
    ends = list(accumulate(tensor.numel() for tensor in tensors))
    mapping = mmap.mmap(-1, in_pages(ends[-1] * dtype.itemsize), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    block = torch.frombuffer(mapping, dtype=dtype)
    for end, tensor in zip(ends, tensors, strict=True):
        block[end - tensor.numel() : end].view(tensor.shape).copy_(tensor)
    block = block.to(device)
    views = [block[end - one.numel() : end].view(one.shape) for end, one in zip(ends, tensors, strict=True)]
    layers = len(prefix.keys)
    return Prefix(tuple(views[:layers]), tuple(views[layers:]), prefix.base_fingerprint)


def in_pages(num_bytes: int) -> int:
    """So many bytes, rounded up to whole pages."""
    return -(-num_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
