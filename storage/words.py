"""What a word is: the one rule by which every page, the API and the training count the words of a text. Knows no table.

A word is what stands between spaces or dashes and has a letter or a digit in it: "well-known", "3.5", "can't" and a web
address are one each, a dash or a bullet alone is none. Chinese, Japanese, Thai and its neighbours put no spaces between
words: there two characters count as a word, about what one has in Chinese and Japanese.
"""

import re
from collections.abc import Sequence

_CHARS_PER_WORD = 2  # where no spaces are written
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_CHARACTER = re.compile(f"[{_UNSPACED}]")
_WORD = re.compile(rf"{_CHARACTER.pattern}|[^\W_{_UNSPACED}](?:(?:[^\s—{_UNSPACED}-]|-(?!-))*[^\W_{_UNSPACED}])?")


def words(text: str) -> list[str]:
    """The words in their order, as they are compared: in lower case, without the signs around them. Where no spaces are
    written, the single characters."""
    return [match.group().casefold() for match in _WORD.finditer(text)]


def number_of(found: Sequence[str]) -> int:
    """How many words these are, or any of them: what `words` gives."""
    characters = sum(1 for word in found if _CHARACTER.match(word))
    return len(found) - characters + -(-characters // _CHARS_PER_WORD)


def count_words(text: str) -> int:
    """How many words a text has."""
    return number_of(words(text))
