import pytest

from storage.words import count_words, number_of, words
from tests.factories import UNTIDY_TEXT, UNTIDY_WORDS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("three little words", 3),
        ("a well-known half-truth", 3),
        ("3.5 or 1,204 of 2019–21", 4 + 1),
        ("see https://example.org/a-b_c?d=1&e=2#f, then", 3),
        ("I said — no, I thought -- not", 6),
        ("mind the step—the doors--the gap", 7),
        ("* one\n* two\n\n# Three\n\n***", 3),
        ("“Can't you?” … _No_!", 3),
        ("a" * 50_000, 1),
        ("", 0),
        (" \n—\n…", 0),
    ],
)
def test_a_word_stands_between_spaces_or_dashes_and_has_a_letter_or_digit(text: str, expected: int) -> None:
    assert count_words(text) == expected


@pytest.mark.parametrize("text", ["昨日は雨が降った", "ฝนตกหนักมาก", "屋顶漏水了啊呀呀呀"])
def test_where_no_spaces_are_written_two_characters_are_a_word(text: str) -> None:
    assert count_words(text) == -(-len(text) // 2)
    assert count_words(f"She said: {text}。") == 2 + count_words(text)


def test_words_are_compared_without_case_and_the_signs_around_them() -> None:
    assert words("“The roof,” he SAID — the (well-known) roof’s…") == ["the", "roof", "he", "said", "the", "well-known", "roof’s"]  # fmt: skip  # noqa: E501


def test_paragraphs_together_have_the_words_of_the_whole() -> None:
    paragraphs = [UNTIDY_TEXT, "A bullet:", "- one", "https://example.org/" + "x" * 500]
    assert sum(map(count_words, paragraphs)) == count_words("\n\n".join(paragraphs)) == UNTIDY_WORDS + 4
    assert number_of(words(UNTIDY_TEXT)[:5]) == 5
