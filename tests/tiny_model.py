"""Real two-layer language models with random weights, one per supported family, and a byte-level tokenizer: what tests
of tuning, generation and the API use where a full model would only be slow. Made locally, nothing is downloaded."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tuning.base_model import BaseModel
from tuning.prefix import Prefix

FAMILIES = ("gpt2", "llama", "qwen3", "gpt_neox")
START, PAD = "<|endoftext|>", "<|pad|>"
USER, ASSISTANT = "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}<|endoftext|>{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
VOCABULARY = 258
MAX_POSITIONS = 256
NUM_VIRTUAL_TOKENS = 4
_SPREAD = 0.3  # standard deviation of the weights: large enough for a prefix to change what is said


def make_tokenizer(*, chat: bool = False) -> PreTrainedTokenizerFast:
    """One token per byte; <|endoftext|> (id 0) starts and ends texts, <|pad|> is id 1. chat: also <|user|>,
    <|assistant|> (the last ids) and a template: a line each for the speaker, then what is said."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {START: 0, PAD: 1} | {byte: number for number, byte in enumerate(alphabet, start=2)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=START, eos_token=START, pad_token=PAD)
    if chat:
        made.add_special_tokens({"extra_special_tokens": [USER, ASSISTANT]})
        made.chat_template = CHAT_TEMPLATE
    return made


def make_model(
    family: str, dtype: torch.dtype = torch.float64, seed: int = 0, *, chat: bool = False
) -> PreTrainedModel:
    """Random weights of `family`, the same for the same seed; chat: with rows for the chat tokens. Leaves torch's
    global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _build(family, VOCABULARY + 2 * chat).to(dtype).eval()


def make_tiny(
    family: str = "llama",
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    *,
    num_virtual_tokens: int = NUM_VIRTUAL_TOKENS,
    chat: bool = False,
) -> BaseModel:
    """A frozen, probed BaseModel of `family`: "gpt2", "llama" (grouped-query), "qwen3" (k-norm) or "gpt_neox";
    chat: with a chat template."""
    return BaseModel.of(
        make_model(family, dtype, seed, chat=chat),
        make_tokenizer(chat=chat),
        name=f"tiny-{family}",
        num_virtual_tokens=num_virtual_tokens,
        max_context=MAX_POSITIONS,
    )


def save_tiny(
    family: str, folder: Path, *, dtype: torch.dtype = torch.float32, seed: int = 0, chat: bool = False
) -> Path:
    """Write model and tokenizer of `family` to `folder`, loadable through IDIOLECT_BASE_MODEL."""
    make_model(family, dtype, seed, chat=chat).save_pretrained(folder)
    make_tokenizer(chat=chat).save_pretrained(folder)
    return folder


def make_prefix(base: BaseModel, num_virtual_tokens: int = NUM_VIRTUAL_TOKENS, seed: int = 0) -> Prefix:
    """A random prefix for `base`, strong enough to change what the model says."""
    generator = torch.Generator().manual_seed(seed)

    def noise(heads: int, width: int) -> torch.Tensor:
        drawn = torch.randn(heads, num_virtual_tokens, width, generator=generator, dtype=torch.float64)
        return (2 * drawn).to(base.device, base.dtype)

    return Prefix(
        keys=tuple(noise(*shape) for shape in base.layer_shapes),
        values=tuple(noise(*shape) for shape in base.layer_shapes),
        base_fingerprint=base.fingerprint,
    )


def _build(family: str, vocabulary: int) -> PreTrainedModel:
    ids: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0, "vocab_size": vocabulary, "initializer_range": _SPREAD}
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    grouped: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    places: dict[str, Any] = {"max_position_embeddings": MAX_POSITIONS}
    match family:
        case "gpt2":
            return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=MAX_POSITIONS, **ids))
        case "llama":
            return LlamaForCausalLM(LlamaConfig(**sizes, **grouped, **places, **ids))
        case "qwen3":  # head_dim is not hidden_size / num_attention_heads
            return Qwen3ForCausalLM(Qwen3Config(head_dim=16, pad_token_id=1, **sizes, **grouped, **places, **ids))
        case "gpt_neox":
            return GPTNeoXForCausalLM(GPTNeoXConfig(num_attention_heads=4, **sizes, **places, **ids))
    raise ValueError(f"no tiny model of family {family!r}; there are {', '.join(FAMILIES)}")
