"""A person's writing samples -> token blocks in three sets. Owns the split, the document-start convention, the form of
a request and its answer on an instruct model, and the count of scored characters. Keeps nothing between calls: no list
in here outlives one person's call."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from storage.words import count_words
from tuning.base_model import BaseModel
from tuning.errors import TooLittleText

LEAST_WORDS = 100
LEAST_SAMPLES_TO_HOLD_OUT_WHOLE = 5
TEST_SHARE = 0.2
STOP_SHARE = 0.15  # of what is not test
TRAIN_BLOCK_TOKENS = 256  # so that one step's tokens come from several texts, not from one long one
STOP_CHARS = 8_000  # looking is paid for every few steps: more than this is better spent on training
_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])[\"'”’)]*\s+|\n+")
_WORD_END = re.compile(r"\s+")


class Writing(Protocol):
    """What the dataset needs of a writing sample; storage's samples have it."""

    @property
    def id(self) -> str: ...

    @property
    def text(self) -> str: ...

    @property
    def prompt(self) -> str | None: ...

    @property
    def written_on(self) -> str | None: ...


@dataclass(frozen=True)
class WrittenText:
    """A writing sample in memory. written_on: ISO date. id: needed only where a training goes on from another."""

    text: str
    title: str | None = None
    prompt: str | None = None
    written_on: str | None = None
    id: str = ""


@dataclass(frozen=True)
class Block:
    """Consecutive tokens of one text, at most `context_length − num_virtual_tokens` of them; shorter for training.

    num_context: leading tokens that are read but not scored (the document start, a prompt, the end of the block
    before): at least 1. num_chars: characters of the scored text; the end of an answer, scored in training only, has
    none. begins_text: it is a text's first. num_request: leading tokens that are the request which the text answers, in
    the model's own form; 0 for a plain document.
    """

    token_ids: tuple[int, ...]
    num_context: int
    num_chars: int
    begins_text: bool = field(default=True, repr=False)
    num_request: int = field(default=0, repr=False)

    @property
    def num_scored(self) -> int:
        """Tokens whose loss counts."""
        return len(self.token_ids) - self.num_context


@dataclass(frozen=True)
class Earlier:
    """Ids of samples that the prefix to go on from was trained on, and of all that took part in making it: those judged
    it too, or said when to stop."""

    trained: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()


NOTHING_EARLIER = Earlier()


@dataclass(frozen=True)
class Split:
    """One person's blocks: `train` is trained on, `stop` is what early stopping looks at, `test` only judges. Only in
    `train` do answers end in the token that ends them: `stop` and `test` score text, and bits per character stay those
    of the text.

    num_test_samples: of which anything is in `test`. One or two say little of how a person writes.
    trained_ids: of the samples of which anything is in `train`, or was in an earlier training's that this one goes on
        from. They can judge no later training that goes on from this one.
    known: blocks of `train`, those of samples that an earlier training was trained on.
    """

    train: tuple[Block, ...]
    stop: tuple[Block, ...]
    test: tuple[Block, ...]
    num_samples: int
    num_test_samples: int = 0
    trained_ids: tuple[str, ...] = ()
    known: tuple[Block, ...] = field(default=(), repr=False)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of every block, to tell whether a checkpoint belongs to this data."""
        return hashlib.sha256(repr((self.train, self.stop, self.test)).encode()).hexdigest()


def build_split(
    base: BaseModel, writings: Sequence[Writing], *, num_virtual_tokens: int, earlier: Earlier = NOTHING_EARLIER
) -> Split:
    """Order the samples (by date when all are dated, else as given), hold out the newest fifth as test and samples
    spread over the rest for early stopping. Fewer than five samples are split inside each text instead. On a base
    model with a chat template a sample with a prompt is the answer to a request, and a plain document as well.

    earlier: of a prefix to go on from. What it was trained on is for training again; test is of what it never knew.
        See `leaves_enough`.

    Raises TooLittleText with how much more is needed.
    """
    ordered = _in_order([writing for writing in writings if writing.text.strip()])
    _require_enough([writing.text for writing in ordered])
    if len(ordered) >= LEAST_SAMPLES_TO_HOLD_OUT_WHOLE:
        sets = _whole(ordered, num_test=_num_test(len(ordered)), earlier=earlier)
    else:
        sets = _inside(ordered)
    return _split(base, sets, num_virtual_tokens, ordered, earlier)


def leaves_enough(writings: Sequence[Writing], earlier: Earlier) -> bool:
    """Whether a training of these samples may go on from a prefix: all that it was trained on are still there, a fifth
    has come that it never knew, and something is left beside that to say when to stop."""
    ids = {writing.id for writing in writings}
    num_test = _num_test(len(writings))
    return (
        len(writings) >= LEAST_SAMPLES_TO_HOLD_OUT_WHOLE
        and ids >= earlier.trained
        and len(ids - earlier.known) >= num_test
        and len(ids - earlier.trained) > num_test
    )


def split_before(
    base: BaseModel,
    writings: Sequence[Writing],
    test: Sequence[Writing],
    *,
    num_virtual_tokens: int,
    earlier: Earlier = NOTHING_EARLIER,
) -> Split:
    """As build_split for a comparison whose test set is given: all of `writings`, in the order given, is for training
    and for early stopping. Five samples at least."""
    train, stop, _ = _whole(writings, num_test=0, earlier=earlier)
    sets = (train, stop, [_piece(writing) for writing in test])
    return _split(base, sets, num_virtual_tokens, writings, earlier)


def _split(
    base: BaseModel, sets: "_Sets", num_virtual_tokens: int, writings: Sequence[Writing], earlier: Earlier
) -> Split:
    longest = base.context_length - num_virtual_tokens
    train = [(piece.of, _forms(base, piece, min(longest, TRAIN_BLOCK_TOKENS), ends=True)) for piece in sets[0]]
    stop, test = (
        tuple(block for piece in pieces for block in _forms(base, piece, longest, ends=False)) for pieces in sets[1:]
    )
    trained_ids = tuple(sorted({piece.of for piece in sets[0]} - {""}))
    return Split(
        train=tuple(block for _, blocks in train for block in blocks),
        stop=stop,
        test=test,
        num_samples=len(writings),
        num_test_samples=len(sets[2]),
        trained_ids=trained_ids,
        known=tuple(block for sample_id, blocks in train if sample_id in earlier.trained for block in blocks),
    )


def text_blocks(
    base: BaseModel, text: str, longest: int = TRAIN_BLOCK_TOKENS, *, num_virtual_tokens: int
) -> list[Block]:
    """All of one text in blocks of at most `longest` tokens, fit for the prefix; as training has it by default."""
    return _blocks(base, _Piece(text, None), min(longest, base.context_length - num_virtual_tokens))


def num_tokens(blocks: Sequence[Block]) -> int:
    """Scored tokens of all blocks."""
    return sum(block.num_scored for block in blocks)


def _in_order(writings: list[Writing]) -> list[Writing]:
    if all(writing.written_on for writing in writings):
        return sorted(writings, key=lambda writing: str(writing.written_on))
    return writings


def _require_enough(texts: Sequence[str]) -> None:
    words = sum(map(count_words, texts))
    if words < LEAST_WORDS:
        raise TooLittleText(
            f"There are about {words} words to learn from, and at least {LEAST_WORDS} are needed. "
            f"Add about {LEAST_WORDS - words} more; three pieces of 200 words are a good start."
        )


@dataclass(frozen=True)
class _Piece:
    """prompt: what led to the text's beginning. before: the text before it; None at the beginning. whole: it
    goes on to the text's end. of: the sample's id."""

    text: str
    prompt: str | None
    before: str | None = None
    whole: bool = True
    of: str = ""


def _piece(writing: Writing) -> _Piece:
    return _Piece(writing.text, writing.prompt, of=writing.id)


def _num_test(num_samples: int) -> int:
    return max(1, round(num_samples * TEST_SHARE))


_Sets = tuple[list[_Piece], list[_Piece], list[_Piece]]


def _whole(ordered: Sequence[Writing], *, num_test: int, earlier: Earlier) -> _Sets:
    """The newest: test. Evenly spread over the rest, from its newest back: stop. One newest piece alone may be of
    another kind than everything else, and early stopping would then follow it (docs/likeness.md). Test is of what
    nothing earlier knew, stop of what nothing earlier was trained on."""
    everything = range(len(ordered))
    new = [number for number in everything if ordered[number].id not in earlier.known]
    test = set(new[len(new) - num_test :])
    rest = [number for number in everything if number not in test and ordered[number].id not in earlier.trained]
    num_stop = min(len(rest), max(1, round((len(ordered) - len(test)) * STOP_SHARE)))
    stop = {rest[len(rest) - 1 - number * len(rest) // num_stop] for number in range(num_stop)}
    train = [number for number in everything if number not in stop | test]
    pieces = [_piece(writing) for writing in ordered]
    return (
        [pieces[number] for number in train],
        [_shortened(pieces[number], STOP_CHARS // num_stop) for number in sorted(stop)],
        [pieces[number] for number in sorted(test)],
    )


def _shortened(piece: _Piece, most: int) -> _Piece:
    """The piece's beginning, where it has more than `most` characters."""
    if len(piece.text) <= most:
        return piece
    return replace(piece, text=_cut(piece.text, most / len(piece.text))[0], whole=False)


def _inside(ordered: Sequence[Writing]) -> _Sets:
    """The end of every text: test. The part before it: stop."""
    sets: _Sets = ([], [], [])
    for writing in ordered:
        rest, test = _cut(writing.text, 1 - TEST_SHARE)
        train, stop = _cut(rest, 1 - STOP_SHARE)
        for pieces, text, before in zip(sets, (train, stop, test), (None, train, rest), strict=True):
            if text.strip():
                pieces.append(_Piece(text, writing.prompt, before, whole=pieces is sets[2], of=writing.id))
    return sets


def _cut(text: str, share: float) -> tuple[str, str]:
    """Cut `text` near `share` of its length: at the end of a sentence within a tenth of the length, else of a word."""
    wanted = len(text) * share
    for boundary, reach in ((_SENTENCE_END, 0.1), (_WORD_END, 0.2)):
        ends = [match.end() for match in boundary.finditer(text) if abs(match.end() - wanted) <= reach * len(text)]
        if ends:
            place = min(ends, key=lambda end: abs(end - wanted))
            return text[:place].rstrip(), text[place:]
    return text[: round(wanted)], text[round(wanted) :]


def _forms(base: BaseModel, piece: _Piece, longest: int, *, ends: bool) -> list[Block]:
    """The piece in every form in which its voice will be used: as an answer where it answers a request and the model
    has a form for that, and as a document."""
    request = _request(base, piece, longest)
    as_answer = _blocks(base, piece, longest, request, ends=ends) if request else []
    return as_answer + _blocks(base, piece, longest)


def _blocks(
    base: BaseModel, piece: _Piece, longest: int, request: Sequence[int] = (), *, ends: bool = False
) -> list[Block]:
    """Blocks in which every token of the text is scored exactly once. A text that needs several repeats the last
    quarter of a block, unscored, at the head of the next; an answer, its request before that. ends: the end of an
    answer is scored too, where it is the text's."""
    head = list(request)
    context = head + _overlap(base, piece, longest) if head else _document_start(base, piece, longest)
    text = base.encode(piece.text, document_start=False)
    scored = [*text, *base.answer_end_ids] if head and ends and piece.whole else text
    blocks: list[Block] = []
    done = 0
    while done < len(scored):
        end = min(len(scored), done + longest - len(context))
        block = Block(
            token_ids=(*context, *scored[done:end]),
            num_context=len(context),
            num_chars=_chars_up_to(end, piece, text) - _chars_up_to(done, piece, text),
            begins_text=done == 0 and piece.before is None,
            num_request=len(head),
        )
        blocks.append(block)
        done, context = end, head + _last_quarter(block.token_ids[len(head) :], longest)
    return blocks


def _chars_up_to(end: int, piece: _Piece, text: Sequence[int]) -> int:
    return round(len(piece.text) * min(end, len(text)) / max(1, len(text)))


def _request(base: BaseModel, piece: _Piece, longest: int) -> list[int]:
    """The request in the model's own form, at most half a block; nothing where there is no request or no such form."""
    return base.encode_request(piece.prompt, longest // 2) if piece.prompt and base.has_chat_template else []


def _overlap(base: BaseModel, piece: _Piece, longest: int) -> list[int]:
    return _last_quarter(base.encode(piece.before, document_start=False), longest) if piece.before else []


def _last_quarter(token_ids: Sequence[int], longest: int) -> list[int]:
    return list(token_ids[-max(1, longest // 4) :])


def _document_start(base: BaseModel, piece: _Piece, longest: int) -> list[int]:
    """The document start and the end of the prompt, at most half a block. A prompt led to the text's beginning, not to
    its middle: that comes behind the end of the text before it, else a voice trained on that would be ahead by what it
    remembers."""
    if piece.before is not None:
        return [base.document_start_id, *_overlap(base, piece, longest)]
    if not piece.prompt:
        return [base.document_start_id]
    return [base.document_start_id, *base.encode(f"{piece.prompt}\n\n", document_start=False)[-(longest // 2 - 1) :]]
