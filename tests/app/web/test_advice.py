from typing import Any

import pytest

from app.web.advice import advice
from storage.readiness import GOOD_WORDS, Readiness
from tests.app.web.training import FIGURES, REPORT

PLENTY = Readiness(num_samples=40, num_words=GOOD_WORDS)
GOOD: dict[str, Any] = {**FIGURES, "samples": 40, "test_samples": 8}


def test_a_good_voice_of_much_writing_is_left_alone() -> None:
    assert advice(GOOD, REPORT, PLENTY, samples_changed=False) == []


@pytest.mark.parametrize(
    ("figures", "report", "words", "changed", "says"),
    [
        ({}, {}, GOOD_WORDS, True, "Your samples are others"),
        ({}, {}, GOOD_WORDS - 1200, False, "about 1,200 more words, which would make it 8,000"),
        ({}, {}, 2166, False, "about 1,834 more words, which would make it 4,000"),
        ({"samples": 4, "test_samples": 4}, {}, GOOD_WORDS, False, "More pieces than 4"),
        ({"test_samples": 2}, {}, GOOD_WORDS, False, "More pieces, even short ones"),
        ({}, {"in_context_bits_per_char": 2.1}, GOOD_WORDS, False, "shown your samples guesses you better"),
        ({}, {"style_distance": {"base": 0.6, "voice": 0.7}}, GOOD_WORDS, False, "Leave out samples"),
        ({}, {"longest_overlap": {"words": 14, "chars": 70}}, GOOD_WORDS, False, "It repeated 14 words"),
        ({}, {"neutral_rise_pct": 6.0}, GOOD_WORDS, False, "lower its strength"),
    ],
)
def test_each_shortcoming_has_its_own_advice(
    figures: dict[str, Any], report: dict[str, Any], words: int, changed: bool, says: str
) -> None:
    readiness = Readiness(num_samples=40, num_words=words)
    (sentence,) = advice({**GOOD, **figures}, {**REPORT, **report}, readiness, samples_changed=changed)
    assert says in sentence


def test_what_was_not_measured_leads_to_no_advice() -> None:
    assert advice({}, {}, PLENTY, samples_changed=False) == []
    assert advice({}, {"style_distance": 3, "longest_overlap": []}, PLENTY, samples_changed=False) == []
