import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.factories import SAMPLE_TEXTS
from tests.tiny_model import make_prefix, make_tiny
from tests.tuning.texts import CANARIES, texts_of, written
from tuning import voice_report
from tuning.base_model import BaseModel
from tuning.dataset import Split, WrittenText, build_split
from tuning.errors import Stopped
from tuning.evaluation import bits_per_char
from tuning.in_context import in_context_bits_per_char
from tuning.neutral import neutral_blocks
from tuning.style import FUNCTION_WORDS, distance, style_of
from tuning.voice_report import NUM_CONTINUATIONS, beginnings, report

WRITINGS = [*written(CANARIES[0], 8), *(WrittenText(text, written_on="2023-01-01") for text in SAMPLE_TEXTS)]
TEXTS = texts_of(WRITINGS)


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama")


@pytest.fixture(scope="module")
def split(base: BaseModel) -> Split:
    return build_split(base, WRITINGS, num_virtual_tokens=4)


def say(monkeypatch: pytest.MonkeyPatch, base_says: list[str], voice_says: list[str]) -> None:
    """Put words into the mouths of base model and voice, which random weights cannot find."""

    def said(_: object, prefix: object, *__: object, **___: object) -> list[str]:
        return base_says if prefix is None else voice_says

    monkeypatch.setattr(voice_report, "continuations", said)


def test_it_measures_the_very_blocks_of_the_split_and_the_neutral_text(base: BaseModel, split: Split) -> None:
    prefix = make_prefix(base)
    measured = report(base, prefix, split, TEXTS, seed=0)
    assert measured["in_context_bits_per_char"] == in_context_bits_per_char(base, split.train, split.test)
    behind, bare = (bits_per_char(base, some, neutral_blocks(base, 4)) for some in (prefix, None))
    assert measured["neutral_rise_pct"] == pytest.approx(100 * (behind - bare) / bare)
    assert abs(measured["neutral_rise_pct"]) > 0.1


def test_random_weights_write_no_english_and_of_that_it_says_nothing(base: BaseModel, split: Split) -> None:
    measured = report(base, make_prefix(base), split, TEXTS, seed=0)
    assert measured["style"]["base"] is measured["style"]["voice"] is None
    assert measured["style_distance"] == {"base": None, "voice": None}
    assert measured["style"]["samples"]["num_words"] > 400
    assert measured["longest_overlap"]["words"] <= 1


def test_styles_and_overlap_are_of_what_was_written(
    base: BaseModel, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = ["It is the opinion of the board; and to that end, all of its members, who were there, have signed. "] * 9
    mine = ["We had the lamps on, and I was with my sister: then home to it, and no one said a word of it. "] * 6
    say(
        monkeypatch,
        foreign,
        [*mine, "And Old Brennan said the SEA keeps its own hours - he says it every winter, he does."],
    )
    measured = report(base, make_prefix(base), split, TEXTS, seed=0)
    samples, others = style_of(TEXTS), style_of(foreign)
    assert samples is not None
    assert others is not None
    assert measured["style_distance"]["base"] == distance(others, samples)
    assert measured["style_distance"]["voice"] < measured["style_distance"]["base"]
    repeated = "Old Brennan said the sea keeps its own hours; he says it every winter"
    assert measured["longest_overlap"]["words"] == len(repeated.split())


def words_in(report: object) -> set[str]:
    shown = json.dumps(report, ensure_ascii=False)
    return {word.lower() for word in "".join(char if char.isalpha() else " " for char in shown).split()}


def test_no_word_of_the_samples_or_of_what_was_written_gets_into_the_report(
    base: BaseModel, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = words_in(TEXTS)
    allowed, names = words_in(FUNCTION_WORDS), {"voice", "distance", "words", "sentence", "longest", "base", "word"}
    personal = theirs - allowed - names
    assert {*CANARIES[:1], "brennan", "radishes", "lamps"} <= personal
    say(monkeypatch, TEXTS, [f"{CANARIES[0]} {text}" for text in TEXTS])
    measured = report(base, make_prefix(base), split, TEXTS, seed=0)
    assert measured["style"]["voice"] is not None
    assert not words_in(measured) & personal


def test_the_same_seed_gives_the_same_report(base: BaseModel, split: Split) -> None:
    one, other = (report(base, make_prefix(base), split, TEXTS, seed=7) for _ in range(2))
    assert one == other


def test_texts_are_begun_with_their_first_words_behind_what_they_answer(base: BaseModel) -> None:
    words = [f"w{number}" for number in range(40)]
    writings = [
        WrittenText(f"{day} {' '.join(words)}.", prompt="Who?", written_on=f"2024-01-{day}") for day in range(10, 20)
    ]
    test = build_split(base, writings, num_virtual_tokens=4).test
    begun = [base.decode(ids) for ids in beginnings(base, test, room=100)]
    assert [text.split()[1] for text in begun] == ["18", "19"] * (NUM_CONTINUATIONS // 2)
    assert begun[0] == "Who?\n\n18 " + " ".join(words[:11])
    short = beginnings(base, test, room=20)
    assert {(len(ids), ids[0]) for ids in short} == {(20, base.document_start_id)}


def test_everything_fits_the_context_whatever_the_texts_are(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def measure(
        _: object, prefix: object, begun: Sequence[Sequence[int]], *, num_tokens: int, **__: object
    ) -> list[str]:
        seen.append(max(map(len, begun)) + num_tokens + 4)
        return ["." for _ in begun]

    monkeypatch.setattr(voice_report, "continuations", measure)
    letters = [WrittenText("灯台は岩の上に立っている" * 60, prompt="なぜ" * 400) for _ in range(6)]
    report(base, make_prefix(base), build_split(base, letters, num_virtual_tokens=4), texts_of(letters), seed=0)
    assert len(seen) == 2
    assert max(seen) <= base.context_length


def test_a_report_ends_where_its_check_says_so(base: BaseModel, split: Split) -> None:
    asked = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise Stopped("worker stopping")

    with pytest.raises(Stopped):
        report(base, make_prefix(base), split, TEXTS, seed=0, check=check)


def test_on_an_instruct_model_answers_are_begun_behind_their_requests() -> None:
    base = make_tiny(chat=True)
    asked = [replace(text, prompt=f"Write about {number}.") for number, text in enumerate(WRITINGS)]
    split = build_split(base, asked, num_virtual_tokens=4)
    measured = report(base, make_prefix(base), split, TEXTS, seed=0)
    assert measured["in_context_bits_per_char"] > 0
    begun = beginnings(base, split.test, 200)
    assert len(begun) == NUM_CONTINUATIONS
    said = [str(base.tokenizer.decode(list(ids))) for ids in begun]
    assert any(text.startswith("<|user|>\nWrite about ") for text in said)
    assert any(text.startswith("<|endoftext|>Write about ") for text in said), "and as documents"


def test_of_few_samples_that_are_split_inside_the_held_out_ends_are_begun(base: BaseModel) -> None:
    split = build_split(base, [WrittenText(text * 2) for text in SAMPLE_TEXTS[:3]], num_virtual_tokens=4)
    assert len(beginnings(base, split.test, 200)) == NUM_CONTINUATIONS
