"""Models of real shapes with random weights, for timing where no weights are at hand: time does not depend on their
values. Knows nothing of what is timed.

    python -m benchmarks.shapes 1b FOLDER

saves one (in bfloat16, with the bundled tokenizer), so that whatever starts the platform's own processes can be timed
on it: IDIOLECT_BASE_MODEL=FOLDER IDIOLECT_DEVICE=cuda IDIOLECT_MAX_CONTEXT=2048 python -m benchmarks.latency.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tuning.base_model import BaseModel

TOKENIZER = Path(__file__).parent.parent / "base_model"  # any will do whose ids the model has

SHAPES = {
    "tiny": LlamaConfig(
        vocab_size=8192,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=640,
    ),
    "1b": LlamaConfig(  # that of Llama 3.2 1B
        vocab_size=128256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        max_position_embeddings=131072,
        tie_word_embeddings=True,
    ),
    "3b": LlamaConfig(  # that of Llama 3.2 3B
        vocab_size=128256,
        hidden_size=3072,
        intermediate_size=8192,
        num_hidden_layers=28,
        num_attention_heads=24,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=131072,
        tie_word_embeddings=True,
    ),
}


def random_model(
    shape: str, *, device: torch.device, dtype: torch.dtype, num_virtual_tokens: int, max_context: int
) -> BaseModel:
    """A frozen base model of a shape out of SHAPES, with the bundled tokenizer."""
    return BaseModel.of(
        _random(shape, device, dtype),
        AutoTokenizer.from_pretrained(TOKENIZER),
        name=f"random-{shape}",
        num_virtual_tokens=num_virtual_tokens,
        max_context=max_context,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Save one as a base model's folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=list(SHAPES))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    _random(options.shape, torch.device("cpu"), torch.bfloat16).save_pretrained(options.folder)
    AutoTokenizer.from_pretrained(TOKENIZER).save_pretrained(options.folder)
    print(options.folder)


def _random(shape: str, device: torch.device, dtype: torch.dtype) -> LlamaForCausalLM:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # made in its own type: a copy in 32 bits may not fit
    try:
        with torch.device(device):
            return LlamaForCausalLM(SHAPES[shape])
    finally:
        torch.set_default_dtype(before)


if __name__ == "__main__":
    main()
