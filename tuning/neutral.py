"""One fixed text that is nobody's (tuning/neutral.txt, the platform's own): how well it is still predicted behind a
prefix says whether the prefix costs general ability."""

from collections.abc import Sequence
from pathlib import Path

from tuning.base_model import BaseModel
from tuning.dataset import Block, text_blocks
from tuning.evaluation import bits_per_char
from tuning.prefix import Prefix

NEUTRAL_TEXT = Path(__file__).with_name("neutral.txt")


def neutral_blocks(base: BaseModel, num_virtual_tokens: int) -> list[Block]:
    """The neutral text, in blocks as long as the model reads behind a prefix."""
    text = NEUTRAL_TEXT.read_text(encoding="utf-8")
    return text_blocks(base, text, base.context_length, num_virtual_tokens=num_virtual_tokens)


def rise_pct(base: BaseModel, prefix: Prefix, neutral: Sequence[Block]) -> float:
    """By how many percent the loss on the neutral text is higher behind the prefix; below 0 where it is lower."""
    return 100 * (bits_per_char(base, prefix, neutral) / bits_per_char(base, None, neutral) - 1)
