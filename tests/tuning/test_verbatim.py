import random
import string
import time

import pytest

from tuning.verbatim import Overlap, longest_overlap


def test_the_longest_run_counts_words_without_case_and_punctuation() -> None:
    samples = ["I do not trust a kitchen without a wobbly table.", "The ferry was late again, and nobody minded."]
    assert longest_overlap(["They said: “the FERRY was, late again” yesterday."], samples).words == 5
    assert longest_overlap(["one"], ["two"]) == Overlap(0, 1)


def test_a_run_lies_within_one_generation_and_one_sample() -> None:
    assert longest_overlap(["one two", "three four"], ["one two three four"]).words == 2
    assert longest_overlap(["one two three four"], ["one two", "three four"]).words == 2


@pytest.mark.parametrize(("generations", "samples"), [([], ["one"]), (["one"], []), ([""], ["one"]), (["one"], [" "])])
def test_nothing_is_repeated_of_nothing(generations: list[str], samples: list[str]) -> None:
    assert longest_overlap(generations, samples) == Overlap(0, 0)


def test_characters_are_compared_as_they_are_but_for_white_space() -> None:
    assert longest_overlap(["xxa lamp\n in  the rain"], ["yya lamp in the Rain"]).chars == len("a lamp in the ")


def by_trying(one: str, other: str) -> int:
    starts = [(place, end) for place in range(len(one)) for end in range(place + 1, len(one) + 1)]
    return max((end - place for place, end in starts if one[place:end] in other), default=0)


def test_it_equals_trying_everything_on_texts_of_few_letters() -> None:
    draw = random.Random(1)
    for _ in range(300):
        texts = ["".join(draw.choices("ab ", k=draw.randrange(1, 14))) for _ in range(4)]
        tidy = [" ".join(text.split()) for text in texts]
        wanted = max(by_trying(one, other) for one in tidy[:2] for other in tidy[2:])
        assert longest_overlap(texts[:2], texts[2:]).chars == wanted, texts


def test_a_planted_run_is_found_in_five_million_characters_within_seconds() -> None:
    draw = random.Random(0)
    words = ["".join(draw.choices(string.ascii_lowercase, k=5)) for _ in range(50_000)]
    large = [" ".join(draw.choices(words, k=85_000)) for _ in range(10)]
    planted = " ".join(draw.choices(words, k=17))
    large[7] = f"{large[7][:300_000]} {planted} {large[7][300_000:]}"
    made = [" ".join(draw.choices(words, k=60)) for _ in range(6)]
    made[2] = f"{made[2]} {planted.upper()} {made[2]}"
    began = time.process_time()
    assert longest_overlap(made, large).words == 17
    assert time.process_time() - began < 30
