"""How much memory training takes and how much it may: what one step keeps is measured on the loaded model, and the plan
of a step is made to fit the budget before anybody's run starts. Knows nothing of runs."""

import math
import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tuning.base_model import BaseModel
from tuning.config import TuningConfig
from tuning.dataset import TRAIN_BLOCK_TOKENS, Block
from tuning.errors import ConfigurationError
from tuning.precision import cast_bytes, fast_arithmetic, fast_attention, weights_cast_once
from tuning.prefix_encoder import start_from_tokens
from tuning.recomputation import can_recompute, recomputing
from tuning.scoring import Pass, pass_losses
from tuning.training import TrainingSettings
from tuning.training_step import StepPlan

MOST_TOKENS_AT_ONCE = {"cpu": 512, "cuda": 16_384}
MOST_TOGETHER = 32
_PASSES = 4  # of a step of one person, with the fewest tokens that pay in each
_OF_KEPT = 2.5  # a pass's peak, of what it keeps for its way back
_OF_LANES = 1.6  # what passes side by side take, of that: the allocator keeps a store for every thread
_SHARE = 0.5  # of what is free, where no budget is set
_MEBIBYTE = 2**20
_FREE = Path("/proc/meminfo")
_LIMIT = Path("/sys/fs/cgroup/memory.max")
_USED = Path("/sys/fs/cgroup/memory.current")
_COUNTED = Path("/sys/fs/cgroup/memory.stat")


@dataclass(frozen=True)
class MemoryPlan:
    """step: how a step is run. runs_together: so many people train at once, at most."""

    step: StepPlan
    runs_together: int


def plan_memory(base: BaseModel, settings: TrainingSettings, config: TuningConfig) -> MemoryPlan:
    """The fastest plan within the budget: as many tokens at once as pay, in as many passes side by side as a step has,
    without recomputation if that fits, be it in fewer passes; then as many people as fit beside it, at most the
    configured number.

    Raises ConfigurationError with both amounts where not even one short pass of one person fits.
    """
    budget = config.training_memory_mb * _MEBIBYTE or free_bytes(base.device)
    person, together = bytes_per_person(base, settings), _most_together(base, config)
    wanted = MOST_TOKENS_AT_ONCE.get(base.device.type, 2048)
    longest = min(base.context_length, settings.num_virtual_tokens + TRAIN_BLOCK_TOKENS) - settings.num_virtual_tokens
    needed = math.inf
    for recompute, cast_once in _ways(base):
        per_token = bytes_per_token(base, settings, recompute=recompute, cast_once=cast_once)
        casts = cast_bytes(base) if cast_once else 0
        for lanes in range(_most_lanes(base, together), 0, -1):
            in_lanes = lanes * per_token * (_OF_LANES if lanes > 1 else 1)
            fits = int((budget - casts - person) / in_lanes)
            if fits >= longest:
                plan = StepPlan(min(wanted, fits), recompute, lanes, cast_once)
                left = budget - casts - plan.tokens_at_once * in_lanes
                return MemoryPlan(plan, min(together, max(1, int(left // person))))
        needed = min(needed, casts + person + longest * per_token)
    raise ConfigurationError(
        f"Training on {base.name} needs about {math.ceil(needed / _MEBIBYTE)} MB beside the model and may use "
        f"{int(budget) // _MEBIBYTE}. Set IDIOLECT_TRAINING_MEMORY_MB higher."
    )


def bytes_per_token(base: BaseModel, settings: TrainingSettings, *, recompute: bool, cast_once: bool = True) -> float:
    """What a training pass keeps for its way back, for each padded token: counted on one pass of the longest block.
    Two and a half times that, since the way back makes about as much as it frees, and the allocator gives some of it
    back late; with recomputation one layer is there at a time."""
    length = min(base.context_length - settings.num_virtual_tokens, TRAIN_BLOCK_TOKENS)
    ids = (base.document_start_id, *(number % 256 for number in range(length)))
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    start = start_from_tokens(base, ids, settings.num_virtual_tokens)
    leaves = [(k.clone().requires_grad_(), v.clone().requires_grad_()) for k, v in _layers(start.keys, start.values)]
    hooks = torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor)
    casts = weights_cast_once(base) if cast_once else nullcontext()
    with casts, recomputing(base, recompute), fast_attention(base), fast_arithmetic(base), hooks:
        weights = {parameter.untyped_storage().data_ptr() for parameter in base.model.parameters()}
        pass_losses(base, Pass((Block(ids, 1, length),), (0,)), [leaves])
    own = sum(size for where, size in kept.items() if where not in weights) / length
    if recompute:
        own += bytes_per_token(base, settings, recompute=False, cast_once=cast_once) / len(base.layer_shapes) / _OF_KEPT
    return _OF_KEPT * own


def bytes_per_person(base: BaseModel, settings: TrainingSettings) -> float:
    """A learner's encoder with its gradient, two moments and the copy that is computed together with others', and three
    prefixes (start, best, present), float32."""
    width = 2 * sum(heads * size for heads, size in base.layer_shapes)
    prefix = settings.num_virtual_tokens * width
    hidden = settings.hidden
    mlp = settings.num_virtual_tokens * hidden + hidden * (hidden + 1) + (hidden + 1) * width
    trained = prefix if settings.parametrisation == "direct" else mlp
    return 4.0 * (5 * trained + 3 * prefix)


def free_bytes(device: torch.device) -> float:
    """What training may use where no budget is set: half of what is free now, within the container's limit."""
    if device.type == "cuda":
        return _SHARE * torch.cuda.mem_get_info(device)[0]
    free = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for line in _FREE.read_text(encoding="ascii").splitlines() if _FREE.exists() else ():
        if line.startswith("MemAvailable:"):
            free = 1024 * float(line.split()[1])
    return _SHARE * min(free, _free_of_container())


def _free_of_container() -> float:
    """What its limit leaves; file pages that the kernel would give up at once count as free."""
    if not _LIMIT.exists() or (limit := _LIMIT.read_text(encoding="ascii").strip()) == "max":
        return float("inf")
    counted = dict(line.split() for line in _COUNTED.read_text(encoding="ascii").splitlines())
    used = float(_USED.read_text(encoding="ascii")) - float(counted.get("inactive_file", 0))
    return float(limit) - used


def _ways(base: BaseModel) -> list[tuple[bool, bool]]:
    """(recompute, cast_once), the fastest first. Without recomputation every pass keeps what it casts, so casting once
    takes less; with it a pass has the casts of one layer at a time."""
    ways = [(False, True)]
    if can_recompute(base):
        ways += [(True, True), (True, False)] if cast_bytes(base) else [(True, True)]
    return ways


def _most_together(base: BaseModel, config: TuningConfig) -> int:
    """On a CPU people in common steps gain little over one after the other, and all wait for the last of them
    (docs/decisions.md)."""
    return config.runs_together or (1 if base.device.type == "cpu" else MOST_TOGETHER)


def _most_lanes(base: BaseModel, together: int) -> int:
    """Passes side by side: one a thread, but no more than the steps of so many people usually have."""
    return min(torch.get_num_threads(), _PASSES * together) if base.device.type == "cpu" else 1


def _layers(keys: tuple[Tensor, ...], values: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(keys, values, strict=True))
