"""Bench: what a pool child keeps from run to run — storage, configuration, and the base model with all that belongs to
it. Knows nothing of any single run."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

from storage.config import StorageConfig
from storage.store import Storage
from tuning.base_model import BaseModel, load_base_model
from tuning.config import TuningConfig
from tuning.memory import MemoryPlan, plan_memory
from tuning.pool_child import is_worker_stopping, worker_name
from tuning.population import load_population
from tuning.prefix import Prefix
from tuning.registration import register
from tuning.training import TrainingSettings


@dataclass(frozen=True)
class Bench:
    """worker: the name under which it claims runs."""

    storage: Storage
    config: TuningConfig
    settings: TrainingSettings
    worker: str
    is_stopping: Callable[[], bool] = is_worker_stopping

    @cached_property
    def base(self) -> BaseModel:
        """The frozen model: loaded, probed and registered at its first use, once per process."""
        base = load_base_model(self.config)
        register(self.storage, base)
        return base

    @cached_property
    def population(self) -> Prefix | None:
        """Where every new voice starts from; None: from the person's own text."""
        return load_population(self.config, self.base)

    @cached_property
    def plan(self) -> MemoryPlan:
        """How steps are run within the memory there is, and for how many people at once."""
        return plan_memory(self.base, self.settings, self.config)


@cache
def bench_of_process() -> Bench:
    """This pool child's, configured by the environment."""
    config = TuningConfig.from_env()
    storage = Storage.open(StorageConfig.from_env())
    return Bench(storage, config, TrainingSettings.from_config(config), worker_name(os.getppid()))
