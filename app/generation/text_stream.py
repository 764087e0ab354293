"""From tokens to text while they come: whole characters only, and nothing of a stop string or after it.

Work per token is bounded: a short window of tokens is decoded, never the whole answer. Works for every tokenizer that
decodes left to right (byte-level BPE, byte fallback, word pieces). Knows no engine: any iterable of Token will do.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from transformers import PreTrainedTokenizerBase

from app.generation.logprobs import Logprobs
from app.generation.sequence import FinishReason, Token

REPLACEMENT = "\ufffd"  # what decoders make of bytes that are no whole character (yet)
LONGEST_CHARACTER = 4  # bytes, which is also the most tokens that one can be split over
CONTEXT = 8  # tokens that stay in the window, since some tokenizers decode a token by what came before it
WINDOW = 24  # tokens after which the window is cut down to its context
GIVEN_UP = 64  # tokens after which bytes that never became a character are shown as replacement characters


class TokenSource(Protocol):
    """What TextStream reads: a GenerationStream, or anything like it."""

    def __iter__(self) -> Iterator[Token]: ...

    def cancel(self) -> None:
        """Stop generating."""

    def drop(self, index: int) -> None:
        """Stop generating one of the answers."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A token of a text and how likely it was; offset: where in the text it begins, in characters."""

    token_id: int
    logprobs: Logprobs
    offset: int


@dataclass(frozen=True, slots=True)
class TextPiece:
    """The next part of an answer. Only its last piece carries a reason; its text may be empty.

    index: of which of the answers to one request it is. tokens: those that have a part in the text and none in an
    earlier piece, where it was asked how likely they are.
    """

    text: str
    finish_reason: FinishReason | None = None
    index: int = 0
    tokens: tuple[Placed, ...] = ()


class Detokenizer:
    """Turns token ids into text one at a time; together the pieces are what decoding all at once gives.

    prompt_token_ids: what came before, so that the first token's leading space is kept; only its end is remembered.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt_token_ids: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._window = list(prompt_token_ids)
        text = self._decode(self._window)
        self._shown = len(text)  # characters of the window's text that have been given out, or were the prompt's
        self.uncertain = 0  # characters at the end that may still become others
        self._cut(text)

    def push(self, token_id: int) -> str:
        """The text that is certain now: all but bytes at the end that are no whole character yet."""
        self._window.append(token_id)
        text = self._decode(self._window)
        certain = len(text.rstrip(REPLACEMENT))
        if len(self._window) >= GIVEN_UP:
            certain = len(text)
        piece = text[self._shown : certain]
        self._shown = max(self._shown, certain)
        self.uncertain = len(text) - self._shown
        if len(self._window) >= WINDOW and self._shown == len(text):
            self._cut(text)
        return piece

    def _cut(self, text: str) -> None:
        """Shorten the window, of which all is shown, to a few tokens that begin with a whole character.

        Byte fallback decodes a run of bytes all or nothing, so that half a character in front would spoil what follows.
        """
        for size in range(CONTEXT, CONTEXT + LONGEST_CHARACTER):
            end = self._decode(self._window[-size:])
            if text.endswith(end):
                self._window, self._shown = self._window[-size:], len(end)
                return
        if len(self._window) >= GIVEN_UP:
            self._window = self._window[-CONTEXT:]
            self._shown = len(self._decode(self._window))

    def _decode(self, token_ids: list[int]) -> str:
        return str(self._tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


class StopStrings:
    """Finds the first stop string to be completed, and holds back text that may still become one.

    Raises ValueError for an empty stop string.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        if "" in stop:
            raise ValueError("A stop string can't be empty.")
        self._stop = tuple(stop)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """The text that is safe to show. Once a stop string is complete: what came before it, and `found` is set."""
        self._held += text
        ends = [(at + len(stop), at) for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if ends:
            self.found = True
            return self._release(min(ends)[1])
        return self._release(len(self._held) - self._suspicious())

    def flush(self) -> str:
        """The text that was held back, when nothing more comes."""
        return self._release(len(self._held))

    def _suspicious(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stop):
                return size
        return 0

    def _release(self, size: int) -> str:
        text, self._held = self._held[:size], self._held[size:]
        return text


class _Written:
    """One answer's text so far."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str], prompt_token_ids: Sequence[int]
    ) -> None:
        self._text = Detokenizer(tokenizer, prompt_token_ids)
        self._stop = StopStrings(stop)
        self._unplaced: deque[Placed] = deque()  # tokens whose text has not been shown
        self._read = self._shown = 0  # characters
        self.ended = False

    def push(self, token: Token) -> TextPiece | None:
        """What can be shown with this token; None where that is nothing. `ended` is set with the last piece."""
        text = self._stop.push("" if token.finish_reason == "stop" else self._take(token))
        reason: FinishReason | None = "stop" if self._stop.found else token.finish_reason
        if reason is not None and not self._stop.found:
            text += self._stop.flush()
        self.ended = reason is not None
        self._shown += len(text)
        return TextPiece(text, reason, token.index, self._due()) if text or self.ended else None

    def _take(self, token: Token) -> str:
        uncertain = self._text.uncertain
        text = self._text.push(token.id)
        if token.logprobs is not None:
            # What was uncertain may have come to nothing, as replacement characters in front of this token's own text.
            lead = min(uncertain, len(text) - 1) if text else 0
            self._unplaced.append(Placed(token.id, token.logprobs, self._read + lead))
        self._read += len(text)
        return text

    def _due(self) -> tuple[Placed, ...]:
        """The tokens that begin in what is shown; at an end that is no stop string's, all."""
        due = []
        while self._unplaced and (self._unplaced[0].offset < self._shown or (self.ended and not self._stop.found)):
            due.append(self._unplaced.popleft())
        return tuple(due)


class TextStream:
    """The answers to one request as an iterator of TextPiece; each one's last piece carries its finish_reason.

    A stop string ends an answer just before it, with reason "stop", and cancels its generation. Bytes at the very end
    that are no whole character are left out. close() (or leaving the `with` block) cancels the generation, too.
    num_tokens: tokens read so far, of all answers, end tokens included; count: how many answers there are.
    """

    def __init__(
        self,
        tokens: TokenSource,
        tokenizer: PreTrainedTokenizerBase,
        stop: Sequence[str] = (),
        prompt_token_ids: Sequence[int] = (),
        count: int = 1,
    ) -> None:
        self.num_tokens = 0
        self.count = count
        self._tokens = tokens
        self._answers = [_Written(tokenizer, stop, prompt_token_ids) for _ in range(count)]
        self._pieces = self._read()

    def __iter__(self) -> Iterator[TextPiece]:
        return self

    def __next__(self) -> TextPiece:
        return next(self._pieces)

    def close(self) -> None:
        """Stop generating. Harmless when all is over."""
        self._tokens.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> Iterator[TextPiece]:
        left = self.count
        for token in self._tokens:
            self.num_tokens += 1
            answer = self._answers[token.index]
            piece = answer.push(token)
            if answer.ended:
                self._tokens.drop(token.index)
                left -= 1
            if piece is not None:
                yield piece
            if not left:
                return
