"""`python -m tests.tuning.peak_memory BUDGET_MB THREADS`: one training in a process of its own, on a model whose logits
are most of its memory, with a held-out text that fills the context and several shorter ones. Prints in MiB how much
more memory than the loaded model it took at its peak."""

import random
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.tiny_model import make_tokenizer
from tuning.base_model import BaseModel
from tuning.config import TuningConfig
from tuning.dataset import Block, Split
from tuning.evaluation import judge
from tuning.memory import plan_memory
from tuning.trainer import TrainingJob, train_prefixes
from tuning.training import TrainingSettings

VOCABULARY, CONTEXT = 60_000, 2_048
SETTINGS = TrainingSettings(num_virtual_tokens=4, hidden=16, min_steps=2, max_steps=2, evaluate_every=1)
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main() -> None:
    """Train, and print one number."""
    torch.set_num_threads(int(sys.argv[2]))
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
    )
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    base = BaseModel.of(model, make_tokenizer(), name="wide", num_virtual_tokens=4, max_context=CONTEXT)
    dice = random.Random(0)

    def block(length: int) -> Block:
        return Block(tuple(dice.randrange(VOCABULARY) for _ in range(length)), num_context=1, num_chars=length)

    held_out = (block(CONTEXT - 4), *(block(250) for _ in range(4)))
    split = Split(train=tuple(block(200) for _ in range(10)), stop=held_out, test=held_out, num_samples=20)
    plan = plan_memory(base, SETTINGS, TuningConfig(training_memory_mb=int(sys.argv[1])))
    _RESET.write_text("5")  # the peak begins again from what is held now
    before = _mebibytes("VmRSS")
    (result,) = train_prefixes(base, [TrainingJob(split)], SETTINGS, plan=plan.step)
    assert result is not None
    judge(base, split, result)
    print(round(_mebibytes("VmHWM") - before))


def _mebibytes(name: str) -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
