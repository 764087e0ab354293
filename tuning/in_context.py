"""The person's newest writing in the base model's prompt: what could be had without training anything. Owns how the
samples share a context with the text that is scored; knows no prefix."""

from collections.abc import Iterator, Sequence

from tuning.base_model import BaseModel
from tuning.dataset import Block
from tuning.evaluation import bits_per_char


def in_context_bits_per_char(base: BaseModel, train: Sequence[Block], test: Sequence[Block]) -> float:
    """Bits per character of the scored text of `test`, of the bare base model with the newest tokens of `train` before
    each block: half the context is samples. Exactly the tokens count that count in `bits_per_char`."""
    room = base.context_length // 2
    newest = [token for block in train for token in block.token_ids[block.num_context :]][-(room - 1) :]
    shown = (base.document_start_id, *newest)
    return bits_per_char(base, None, [piece for block in test for piece in behind(shown, block, base.context_length)])


def behind(shown: tuple[int, ...], block: Block, context_length: int) -> Iterator[Block]:
    """`block` behind the tokens `shown`, in pieces that fit; each is scored after what stood before it in the block, up
    to a quarter of the room."""
    room = context_length - len(shown)
    done = block.num_context
    chars_done = 0
    while done < len(block.token_ids):
        overlap = block.token_ids[max(0, done - max(1, room // 4)) : done]
        end = min(len(block.token_ids), done + room - len(overlap))
        chars = round(block.num_chars * (end - block.num_context) / block.num_scored) - chars_done
        chars_done += chars
        head = (*shown, *overlap)
        yield Block((*head, *block.token_ids[done:end]), num_context=len(head), num_chars=chars)
        done = end
