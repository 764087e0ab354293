import json
from dataclasses import replace

import pytest

from tests.factories import SAMPLE_TEXTS
from tuning.style import FUNCTION_WORDS, MARKS, Style, distance, style_of

TERSE = [
    f"We were at the gate by {hour}. No one was there. It was cold; she had no coat. I had my bread. They did not "
    f"come. So we went on to the river, and it was not far. He said so. It was. "
    for hour in ("six", "seven", "eight", "nine", "ten", "noon")
]
WINDING = [
    f"If there is anything that would be of use to a traveller who comes to this {place} for the first time — and "
    "there are many who come, with all their boxes — then it is the habit, which their hosts have had for an age, of "
    "leaving a lamp in the window (for whom, one does not ask), and a chair by the fire, and of course a book; for "
    "what would an evening be, in a house of that kind, with nothing to read?"
    for place in ("valley", "coast", "island", "parish", "harbour", "moor")
]
GERMAN = ["Der Leuchtturm steht auf einem Felsen im Meer, und er zeigt den Schiffen in der Nacht, wo sie sind. "] * 9
DUTCH = ["De vuurtoren is in de zee en we had in de nacht geen lamp, want er was een storm of een boot in nood. "] * 9


def known(texts: list[str]) -> Style:
    style = style_of(texts)
    assert style is not None
    return style


def test_rates_are_per_hundred_words_and_sentences_are_told_apart() -> None:
    style = known(['The dog was here, and the cat was not. "Is it so?" she said... It is -- of course! '] * 10)
    assert style.num_words == 180
    assert style.function_words["the"] == pytest.approx(100 * 2 / 18)
    assert style.function_words["is"] == pytest.approx(100 * 2 / 18)
    assert style.function_words["would"] == 0
    rates = {mark: round(rate * 18 / 100, 6) for mark, rate in style.punctuation.items() if rate}
    assert rates == {",": 1, ".": 1, "?": 1, "…": 1, "—": 1, "!": 1, '"': 2}
    assert style.sentence_words == pytest.approx(18 / 4)
    assert style.openings == {"the": 25.0, "is": 25.0, "she": 25.0, "it": 25.0}


def test_the_same_author_is_nearer_than_another() -> None:
    for one, other in ((TERSE, WINDING), (WINDING, TERSE)):
        assert distance(known(one[:3]), known(one[3:])) < 0.5 * distance(known(one[:3]), known(other[3:]))


def test_a_distance_is_symmetrical_zero_to_itself_and_as_its_formula_says() -> None:
    one, other = known(TERSE), known(WINDING)
    assert distance(one, one) == 0
    assert distance(one, other) == distance(other, one) > 0
    doubled = replace(one, function_words=one.function_words | {"the": 2 * one.function_words["the"] + 0.5})
    assert distance(one, doubled) == pytest.approx(0.693147 / (len(FUNCTION_WORDS) + len(MARKS)), abs=1e-6)


@pytest.mark.parametrize(
    "texts", [[], [""], ["Too short."], GERMAN, DUTCH, ["灯台は岩の上に立っている。" * 80], ["x9 " * 400], ["?!" * 400]]
)
def test_of_little_or_foreign_text_it_says_nothing(texts: list[str]) -> None:
    assert style_of(texts) is None


def test_no_word_of_the_texts_gets_into_a_style() -> None:
    shown = json.dumps(
        known(["Zinfandel heliotropes, zinfandel! Ötzi of Reykjavík was there. ", *SAMPLE_TEXTS]).as_json(),
        ensure_ascii=False,
    )
    fields = "num_words function_words_per_100 punctuation_per_100 sentence_words word_chars openings_pct"
    words = set("".join(char if char.isalpha() or char in "_10" else " " for char in shown).split())
    assert {word for word in words if not word.isdigit()} <= {*FUNCTION_WORDS, *fields.split()}
    assert len(set(FUNCTION_WORDS)) == len(FUNCTION_WORDS)
