"""How close a voice is, beyond the loss that decided on it: beside samples in the prompt, in the style of what it
writes, in what it repeats word for word, and in what it costs elsewhere. Plain JSON of numbers and of words from a
fixed list: no text, generated or given, ever gets into it. Knows no storage."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import cycle, islice
from typing import Any

from tuning.base_model import BaseModel
from tuning.continuation import continuations
from tuning.dataset import Block, Split
from tuning.in_context import in_context_bits_per_char
from tuning.neutral import neutral_blocks, rise_pct
from tuning.prefix import Prefix
from tuning.style import Style, distance, style_of
from tuning.verbatim import longest_overlap

# Of 6, a distance differed by 5 to 9 % from seed to seed on the bundled model (standard deviation), of 24 by 4 to 5 %.
NUM_CONTINUATIONS = 24
CONTINUATION_TOKENS = 80
TEMPERATURE = 0.8
BEGINNING_WORDS = 12
_BEGINNING_TOKENS = 48  # of a writing system without spaces, twelve "words" may be all of it
Report = dict[str, Any]


def report(
    base: BaseModel,
    prefix: Prefix,
    split: Split,
    texts: Sequence[str],
    *,
    seed: int,
    check: Callable[[], None] = lambda: None,
) -> Report:
    """Measure a voice. texts: all its samples. check: called between the parts; what it raises ends the report.

    in_context_bits_per_char: of the test blocks, comparable with the run's base and voice figures.
    neutral_rise_pct: percent by which the loss on neutral text is higher with the prefix on; 0: nothing was lost.
    style, style_distance: of samples, base and voice, and from the samples to either; null where there is too little
        text or it is not English. longest_overlap: what the voice's continuations repeat of the samples.
    """
    check()
    measured: Report = {"in_context_bits_per_char": in_context_bits_per_char(base, split.train, split.test)}
    check()
    neutral = neutral_blocks(base, prefix.num_virtual_tokens)
    measured["neutral_rise_pct"] = rise_pct(base, prefix, neutral)
    check()
    written = {"base": _written(base, None, prefix, split, seed), "voice": _written(base, prefix, prefix, split, seed)}
    check()
    return measured | _styles(texts, written) | {"longest_overlap": asdict(longest_overlap(written["voice"], texts))}


def beginnings(base: BaseModel, test: Sequence[Block], room: int) -> list[tuple[int, ...]]:
    """Token ids of the first words of NUM_CONTINUATIONS test texts behind what they stand behind in the split: the
    document start and the end of a prompt, or a request. Each at most `room` long. Fewer texts are begun several times;
    of texts that are all held-out ends, their ends are begun."""
    starts = [block for block in test if block.begins_text] or list(test)
    return [_beginning(base, block, room) for block in islice(cycle(starts), NUM_CONTINUATIONS)]


def _beginning(base: BaseModel, block: Block, room: int) -> tuple[int, ...]:
    scored = block.token_ids[block.num_context :]
    words = base.decode(scored[: 8 * BEGINNING_WORDS + _BEGINNING_TOKENS]).split()[:BEGINNING_WORDS]
    text = base.encode(" ".join(words), document_start=False)[:_BEGINNING_TOKENS]
    head = block.token_ids[: max(1, block.num_request)]
    rest = (*block.token_ids[len(head) : block.num_context], *text)
    return (*head, *rest[max(0, len(rest) - max(1, room - len(head))) :])


def _written(base: BaseModel, prefix: Prefix | None, beside: Prefix, split: Split, seed: int) -> list[str]:
    """What base model or voice makes of the same beginnings. beside: the prefix that they must fit beside."""
    num_tokens = min(CONTINUATION_TOKENS, (base.context_length - beside.num_virtual_tokens) // 2)
    room = base.context_length - beside.num_virtual_tokens - num_tokens
    begun = beginnings(base, split.test, room)
    return continuations(base, prefix, begun, num_tokens=num_tokens, temperature=TEMPERATURE, seed=seed)


def _styles(texts: Sequence[str], written: dict[str, list[str]]) -> Report:
    samples = style_of(texts)
    of_written = {whose: style_of(made) for whose, made in written.items()}
    shown = {"samples": samples} | of_written
    return {
        "style": {whose: style.as_json() if style else None for whose, style in shown.items()},
        "style_distance": {whose: _distance(style, samples) for whose, style in of_written.items()},
    }


def _distance(one: Style | None, other: Style | None) -> float | None:
    return distance(one, other) if one and other else None
