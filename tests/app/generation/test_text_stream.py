from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from app.generation.engine import Engine
from app.generation.sampling import SamplingParams
from app.generation.sequence import Token
from app.generation.text_stream import Detokenizer, StopStrings, TextPiece, TextStream
from tests.tiny_model import make_tokenizer
from tuning.base_model import BaseModel
from tuning.config import BUNDLED_MODEL

BYTES = make_tokenizer()  # one token a byte
BUNDLED = AutoTokenizer.from_pretrained(BUNDLED_MODEL)


def make_byte_fallback_tokenizer() -> PreTrainedTokenizerFast:
    """Pieces in the manner of SentencePiece: ▁ is a space, and what is not in the vocabulary is spelled in bytes."""
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)} | {"▁dog": 256, "s": 257, "▁": 258, "é": 259}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


FALLBACK = make_byte_fallback_tokenizer()
texts = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("ab 😀👩‍👩‍👧é漢\n")), max_size=80).map(
    lambda text: text.replace("\ufffd", "")
)


class Scripted:
    """A finished answer, token by token; counts what is read and remembers being cancelled."""

    def __init__(self, token_ids: Sequence[int], reason: Any = "length") -> None:
        self.read, self.cancelled = 0, False
        self._tokens = [Token(token) for token in token_ids[:-1]] + [Token(token_ids[-1], reason)]

    def __iter__(self) -> Iterator[Token]:
        for token in self._tokens:
            self.read += 1
            yield token

    def cancel(self) -> None:
        self.cancelled = True

    def drop(self, index: int) -> None:
        assert index == 0
        self.cancelled = True


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """As the product reads a text: the spelling of a special token in it is text, too."""
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def pieces_of(tokenizer: PreTrainedTokenizerBase, token_ids: Iterable[int]) -> list[str]:
    detokenizer = Detokenizer(tokenizer)
    return [detokenizer.push(token) for token in token_ids]


@pytest.mark.parametrize("tokenizer", [BYTES, BUNDLED], ids=["bytes", "bundled"])
@given(text=texts)
@example(text="a<|pad|>b<|endoftext|>")
@settings(max_examples=150, deadline=None)
def test_pieces_join_to_the_text_and_never_hold_a_broken_character(
    tokenizer: PreTrainedTokenizerBase, text: str
) -> None:
    pieces = pieces_of(tokenizer, encode(tokenizer, text))
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


@given(st.lists(st.integers(2, 257), max_size=60))
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes_join_to_what_decoding_all_at_once_gives_but_for_an_unfinished_end(
    token_ids: list[int],
) -> None:
    whole = BYTES.decode(token_ids)
    assert "".join(pieces_of(BYTES, token_ids)) == whole.rstrip("\ufffd")


def test_an_emoji_that_is_split_over_tokens_comes_as_one_piece_at_its_last_token() -> None:
    token_ids = encode(BYTES, "a😀b")
    assert len(token_ids) == 6
    assert pieces_of(BYTES, token_ids) == ["a", "", "", "", "😀", "b"]


def test_an_unfinished_character_at_the_end_is_left_out() -> None:
    stream = TextStream(Scripted(encode(BYTES, "hi 😀")[:-1]), BYTES)
    assert "".join(piece.text for piece in stream) == "hi "


@given(
    st.lists(st.sampled_from([*range(0xE0, 0xE4), 0x9F, 0x98, 0x80, 0xF0, 0x20, 0x61, 256, 257, 258, 259]), max_size=40)
)
@settings(max_examples=150, deadline=None)
def test_byte_fallback_pieces_never_take_back_what_was_shown(token_ids: list[int]) -> None:
    pieces = pieces_of(FALLBACK, token_ids)
    assert len("".join(pieces)) <= len(FALLBACK.decode(token_ids))


def test_byte_fallback_characters_in_a_row_come_whole() -> None:
    text = "漢😀" * 20  # characters of different lengths, so that no window can cut between them by luck
    assert "".join(pieces_of(FALLBACK, [*text.encode(), 256, 257, 256])) == text + " dogs dog"


def test_bytes_go_on_rightly_after_a_prompt_that_ends_in_bytes() -> None:
    detokenizer = Detokenizer(FALLBACK, prompt_token_ids=list(("漢😀" * 9).encode()))
    assert "".join(detokenizer.push(byte) for byte in ("漢😀" * 9).encode()) == "漢😀" * 9


def test_the_first_token_keeps_its_space_where_a_prompt_came_before() -> None:
    assert Detokenizer(FALLBACK).push(256) == "dog"
    assert Detokenizer(FALLBACK, prompt_token_ids=[256, 257]).push(256) == " dog"


def test_the_work_per_token_does_not_grow_with_the_answer() -> None:
    lengths: list[int] = []

    class Counting(PreTrainedTokenizerFast):  # type: ignore[misc]  # transformers publishes no types
        def decode(self, token_ids: Any, *args: Any, **kwargs: Any) -> Any:
            lengths.append(len(token_ids))
            return super().decode(token_ids, *args, **kwargs)

    counting = Counting(tokenizer_object=BYTES.backend_tokenizer)
    emoji, garbage = encode(BYTES, "😀 and " * 100), encode(BYTES, "é")[:1] * 700
    for token_ids in (emoji, garbage):
        lengths.clear()
        pieces_of(counting, token_ids)
        assert max(lengths) <= 64
        assert sum(lengths) <= 64 * len(token_ids)


def test_bytes_that_never_become_text_are_shown_at_last() -> None:
    assert "\ufffd" in "".join(pieces_of(BYTES, encode(BYTES, "é")[:1] * 200))


def cut_at_first_stop(text: str, stops: Sequence[str]) -> str | None:
    """The oracle: what comes before the stop string that is complete first (the longest of those), read by letters."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)]
    return None


@given(
    st.lists(st.text("abc", max_size=4), max_size=12),
    st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=3),
)
@settings(max_examples=500, deadline=None)
def test_stop_strings_cut_where_the_oracle_cuts_however_the_text_is_dealt_out(
    parts: list[str], stops: list[str]
) -> None:
    finder, shown = StopStrings(stops), ""
    for part in parts:
        shown += finder.push(part)
        if finder.found:
            break
    text, cut = "".join(parts), cut_at_first_stop("".join(parts), stops)
    if cut is not None:
        assert finder.found
        assert shown == cut
    else:
        assert not finder.found
        assert shown + finder.flush() == text


def test_text_that_cannot_begin_a_stop_string_is_not_held_back() -> None:
    finder = StopStrings(["\n\n", "END"])
    assert finder.push("a line\n") == "a line"
    assert finder.push("another E") == "\nanother "
    assert finder.push("NTRY") == "ENTRY"


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        StopStrings(["a", ""])


def test_a_stop_string_ends_the_stream_and_cancels_the_generation() -> None:
    tokens = Scripted(encode(BYTES, "one two three"))
    stream = TextStream(tokens, BYTES, stop=[" tw"])
    pieces = list(stream)
    assert "".join(piece.text for piece in pieces) == "one"
    assert [piece.finish_reason for piece in pieces] == [None, None, None, "stop"]
    assert tokens.cancelled
    assert tokens.read == stream.num_tokens == 6


def test_held_back_text_comes_with_the_end_where_no_stop_string_follows() -> None:
    pieces = list(TextStream(Scripted(encode(BYTES, "one t")), BYTES, stop=[" two"]))
    assert pieces[-1] == TextPiece(" t", "length")


def test_a_stop_string_that_the_last_token_completes_is_a_stop() -> None:
    pieces = list(TextStream(Scripted(encode(BYTES, "one two")), BYTES, stop=["two"]))
    assert pieces[-1] == TextPiece("", "stop")


def test_the_stop_token_is_no_part_of_the_text() -> None:
    stream = TextStream(Scripted([*encode(BYTES, "ab"), *encode(BYTES, "!")], "stop"), BYTES)
    assert list(stream) == [TextPiece("a"), TextPiece("b"), TextPiece("", "stop")]
    assert stream.num_tokens == 3


def test_leaving_early_cancels_the_generation() -> None:
    tokens = Scripted(encode(BYTES, "one two"))
    with TextStream(tokens, BYTES) as stream:
        assert next(stream).text == "o"
    assert tokens.cancelled


def test_a_generation_cut_by_a_stop_string_gives_its_row_back(engine: Engine, base: BaseModel) -> None:
    params = SamplingParams(temperature=0, max_tokens=200)
    prompt = base.encode("hello")
    whole = "".join(piece.text for piece in TextStream(engine.submit(prompt, params, None), base.tokenizer))
    stop = next(char for char in whole[3:] if char != "\ufffd")
    stream = TextStream(engine.submit(prompt, params, None), base.tokenizer, stop=[stop])
    assert "".join(piece.text for piece in stream) == whole[: whole.index(stop)]
    next(engine.submit(prompt, SamplingParams(temperature=0, max_tokens=1), None))
    assert engine.figures().running == 0
