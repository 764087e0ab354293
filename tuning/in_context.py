"""The person's newest writing in the base model's prompt: what could be had without training anything. Owns how the
samples share a context with the text that is scored; knows no prefix."""

from collections.abc import Iterator, Sequence

from tuning.base_model import BaseModel
from tuning.dataset import Block
from tuning.evaluation import bits_per_char


def in_context_bits_per_char(base: BaseModel, train: Sequence[Block], test: Sequence[Block]) -> float:
    """Bits per character of the scored text of `test`, of the bare base model with the newest tokens of `train` before
    each block: half the context is samples. Before an answer stand answers, with the requests that they answer. Exactly
    the tokens count that count in `bits_per_char`."""
    room = base.context_length // 2
    shown = {answers: (base.document_start_id, *_newest(train, answers, room - 1)) for answers in (False, True)}
    pieces = (behind(shown[block.num_request > 0], block, base.context_length) for block in test)
    return bits_per_char(base, None, [piece for some in pieces for piece in some])


def behind(shown: tuple[int, ...], block: Block, context_length: int) -> Iterator[Block]:
    """`block` behind the tokens `shown`, in pieces that fit; each is scored after its request, if it has one, and what
    stood before it in the block, up to a quarter of the room."""
    request = block.token_ids[: block.num_request]
    room = context_length - len(shown) - len(request)
    done = block.num_context
    chars_done = 0
    while done < len(block.token_ids):
        overlap = block.token_ids[max(len(request), done - max(1, room // 4)) : done]
        end = min(len(block.token_ids), done + room - len(overlap))
        chars = round(block.num_chars * (end - block.num_context) / block.num_scored) - chars_done
        chars_done += chars
        head = (*shown, *request, *overlap)
        yield Block((*head, *block.token_ids[done:end]), num_context=len(head), num_chars=chars)
        done = end


def _newest(train: Sequence[Block], answers: bool, most: int) -> tuple[int, ...]:
    """The last `most` tokens of the training texts in one form: documents, or requests with their answers."""
    tokens = [
        token
        for block in train
        if (block.num_request > 0) == answers
        for token in block.token_ids[0 if answers and block.begins_text else block.num_context :]
    ]
    return tuple(tokens[-most:])
