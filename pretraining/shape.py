"""Shapes of the model and how a model of one is built. Knows no data and no training."""

from collections.abc import Mapping
from dataclasses import dataclass

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from pretraining.tokenizer import CONTROL_TOKENS, VOCABULARY

ROOM_FOR_A_PREFIX = 128  # positions beyond those trained on


@dataclass(frozen=True)
class Shape:
    """rows: sequences per step. length: tokens per sequence, the context that is really trained."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    rows: int
    length: int
    vocabulary: int = VOCABULARY

    @property
    def positions(self) -> int:
        """What the exported model may be asked for: the trained context and a prefix beside it."""
        return self.length + ROOM_FOR_A_PREFIX


SHAPES: Mapping[str, Shape] = {
    "cpu": Shape(layers=8, hidden=256, feed_forward=688, heads=4, kv_heads=4, rows=8, length=512),
    "gpu": Shape(layers=12, hidden=384, feed_forward=1024, heads=6, kv_heads=2, rows=128, length=1024),
}


def build(shape: Shape) -> PreTrainedModel:
    """A Llama with random weights from torch's global random state."""
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.positions,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=CONTROL_TOKENS.index("<|pad|>"),
    )
    return LlamaForCausalLM(config)
