"""How the frozen model is loaded to give answers: in which type, and with how many threads. Owns these decisions, each
of which an operator can take instead. Knows no requests."""

from dataclasses import replace

import torch

from tuning.base_model import BaseModel, load_base_model
from tuning.config import TuningConfig
from tuning.precision import multiplies_bfloat16

# A product of a smaller model's matrices takes about as long as waking a second thread for it (docs/serving.md).
ONE_THREAD_PARAMETERS = 100e6


def load_to_answer(config: TuningConfig) -> BaseModel:
    """Load, freeze and probe the configured model, and set this process's threads.

    Raises BaseModelUnavailable, BaseModelRefused.
    """
    base = load_base_model(to_answer(config))
    choose_threads(config, base)
    return base


def to_answer(config: TuningConfig) -> TuningConfig:
    """The same, and where the type is left open, bfloat16 on a processor that multiplies it natively, too. It is twice
    as fast and does no voice any harm (docs/serving.md)."""
    on_cpu = config.device == "cpu" or (config.device == "auto" and not torch.cuda.is_available())
    fits = config.dtype == "auto" and on_cpu and multiplies_bfloat16()
    return replace(config, dtype="bfloat16") if fits else config


def choose_threads(config: TuningConfig, base: BaseModel) -> None:
    """One for a small model on a processor, where the number is left open."""
    if not config.num_threads and base.device.type == "cpu" and base.num_parameters < ONE_THREAD_PARAMETERS:
        torch.set_num_threads(1)
