"""How likely each token was, against a direct computation without any cache of ours."""

import math
from itertools import pairwise

import pytest
import torch

from app.generation.engine import Engine
from app.generation.logprobs import NEVER, Logprobs, logprobs
from app.generation.sampling import SamplingParams
from app.generation.sequence import Token
from app.generation.text_stream import TextPiece, TextStream
from app.generation.token_text import TokenTexts
from tests.app.generation.alone import logits_alone
from tests.app.generation.test_text_stream import BUNDLED, BYTES, FALLBACK, Scripted, encode
from tests.tiny_model import make_prefix
from tuning.base_model import BaseModel
from tuning.prefix import Prefix

LIKELY = Logprobs(-0.5, ())


@pytest.mark.parametrize("voiced", [True, False])
@pytest.mark.parametrize("wish", [{"temperature": 0}, {"temperature": 1.4, "top_p": 0.8, "seed": 3}])
def test_each_token_is_as_likely_as_the_model_itself_holds_it(
    engine: Engine, base: BaseModel, voiced: bool, wish: dict[str, float]
) -> None:
    prefix: Prefix | None = make_prefix(base) if voiced else None
    neighbour = engine.submit([8, 9], SamplingParams(max_tokens=60), None)
    tokens = list(engine.submit([5, 6, 7], SamplingParams(**wish, max_tokens=12, logprobs=4), prefix))  # type: ignore[arg-type]
    so_far = [5, 6, 7]
    for token in tokens:
        expected = torch.log_softmax(logits_alone(base, so_far, prefix), dim=-1)
        told = token.logprobs
        assert told is not None
        assert told.chosen == pytest.approx(float(expected[token.id]), abs=1e-9)
        values, ids = expected.topk(4)
        assert [one[0] for one in told.top] == ids.tolist()
        assert [one[1] for one in told.top] == pytest.approx(values.tolist(), abs=1e-9)
        so_far.append(token.id)
    assert all(token.logprobs is None for token in neighbour)


def test_a_row_that_broke_down_is_told_in_numbers_that_json_can_spell() -> None:
    rows = torch.tensor([[math.nan, 1.0, 2.0], [0.0, -math.inf, 0.0]])
    broken, sound = logprobs(rows, [0, 1], [1, 0])
    assert broken.chosen == sound.chosen == NEVER
    assert (len(broken.top), sound.top) == (1, ())


def scripted(text: str, reason: str = "length") -> Scripted:
    stream = Scripted(encode(BYTES, text), reason)
    stream._tokens = [Token(token.id, token.finish_reason, logprobs=LIKELY) for token in stream._tokens]
    return stream


def told(pieces: list[TextPiece]) -> list[tuple[str, list[int]]]:
    return [(piece.text, [token.offset for token in piece.tokens]) for piece in pieces]


def test_tokens_come_with_the_text_they_begin_in() -> None:
    assert told(list(TextStream(scripted("a😀b"), BYTES))) == [("a", [0]), ("😀", [1, 1, 1, 1]), ("b", [2])]


def test_a_token_behind_bytes_that_came_to_nothing_begins_behind_them() -> None:
    stream = scripted("aéb c")
    del stream._tokens[2]  # half of é, so that a replacement character stands there
    assert told(list(TextStream(stream, BYTES)))[:3] == [("a", [0]), ("\ufffdb", [1, 2]), (" ", [3])]


def test_tokens_of_a_stop_string_are_not_told_and_those_held_back_for_one_are() -> None:
    assert told(list(TextStream(scripted("a two"), BYTES, stop=[" tw"]))) == [("a", [0]), ("", [])]
    assert told(list(TextStream(scripted("a two"), BYTES, stop=[" twist"]))) == [("a", [0]), (" two", [1, 2, 3, 4])]


def test_the_end_token_is_not_told_and_an_unfinished_character_is() -> None:
    assert told(list(TextStream(scripted("ab", "stop"), BYTES))) == [("a", [0]), ("", [])]
    cut = scripted("a😀")
    cut._tokens = [*cut._tokens[:2], Token(cut._tokens[2].id, "length", logprobs=LIKELY)]
    assert told(list(TextStream(cut, BYTES))) == [("a", [0]), ("", [1, 1])]


@pytest.mark.parametrize("text", ["Hello there, you", " two  spaces", "Grüße 漢字 😀!", "\n\ttab"])
@pytest.mark.parametrize("tokenizer", [BYTES, BUNDLED])
def test_the_bytes_of_tokens_join_to_the_text(tokenizer: object, text: str) -> None:
    texts = TokenTexts(tokenizer)  # type: ignore[arg-type]
    ids = encode(tokenizer, text)  # type: ignore[arg-type]
    assert b"".join(texts.bytes_of(token) or b"" for token in ids) == text.encode()
    whole = [one for one in map(texts.text_of, ids) if not one.startswith("bytes:")]
    assert all(one in text for one in whole)
    assert all(
        name.startswith("bytes:\\x") == ("\ufffd" in BUNDLED.decode([token]))
        for name, token in zip(
            map(TokenTexts(BUNDLED).text_of, encode(BUNDLED, text)), encode(BUNDLED, text), strict=True
        )
    )


def test_a_token_of_byte_fallback_keeps_its_space_and_tells_its_byte() -> None:
    texts = TokenTexts(FALLBACK)
    assert texts.text_of(256) == " dog"
    assert texts.bytes_of(0xE6) == b"\xe6"
    assert texts.text_of(0xE6) == "bytes:\\xe6"
    assert texts.text_of(0x61) == "a"


def test_special_tokens_have_their_names() -> None:
    assert TokenTexts(BYTES).text_of(0) == "<|endoftext|>"


def test_parts_of_a_character_have_different_names() -> None:
    names = [TokenTexts(BYTES).text_of(token) for token in encode(BYTES, "😀")]
    assert all(one != other for one, other in pairwise(names))
    assert names[0] == "bytes:\\xf0"
