"""Style in numbers: how often a text uses each word of a fixed list and each punctuation mark, and how long its
sentences and words are. Owns the list, so that a style holds no word of anybody's. Knows English only, and no model:
of a text that is not English, or too short, it says nothing."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# The commonest English function words: they say little of a text's subject and much of who wrote it (Mosteller and
# Wallace 1964, Inference and Disputed Authorship: The Federalist).
FUNCTION_WORDS = (
    *("the", "a", "an", "and", "or", "but", "if", "of", "to", "in", "on", "at", "by", "for", "with", "from", "as"),
    *("is", "was", "are", "were", "be", "been", "had", "have", "it", "its", "he", "she", "they", "we", "i", "you"),
    *("his", "her", "my", "their", "that", "this", "which", "who", "not", "no", "so", "then", "there", "when", "what"),
    *("would", "all"),
)
MARKS = (",", ".", ";", ":", "!", "?", "—", "…", "(", '"')
LEAST_WORDS = 100  # of fewer, a rate per 100 words says nothing
# Per 100 words. English has 40 and more of the list; what other languages share of it ("in", "was", "a") can come to
# 20 in a dense sentence, but not these three.
LEAST_FUNCTION_WORDS = 20.0
ENGLISH_ALONE, LEAST_ENGLISH_ALONE = ("the", "and", "to"), 3.0
NUM_OPENINGS = 5
_SMOOTHING = 0.5  # per 100 words: a word that one text happens not to have is no infinite difference
_LISTED = frozenset(FUNCTION_WORDS)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?…][.!?…\"'”’)]*\s+|\n+")
_SAME_MARK = ((re.compile(r"–|--+|\s-\s"), "—"), (re.compile(r"\.{3,}"), "…"), (re.compile("[“”„«»]"), '"'))


@dataclass(frozen=True)
class Style:
    """num_words: what it was counted over. function_words, punctuation: per 100 words, by word and by mark, all of
    them. sentence_words: mean words a sentence. word_chars: mean letters a word. openings: percent of sentences that
    begin with this function word, of the commonest few."""

    num_words: int
    function_words: dict[str, float]
    punctuation: dict[str, float]
    sentence_words: float
    word_chars: float
    openings: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, rounded: words of the fixed list, marks and numbers."""
        return {
            "num_words": self.num_words,
            "function_words_per_100": _rounded(self.function_words),
            "punctuation_per_100": _rounded(self.punctuation),
            "sentence_words": round(self.sentence_words, 1),
            "word_chars": round(self.word_chars, 2),
            "openings_pct": _rounded(self.openings),
        }


def style_of(texts: Sequence[str]) -> Style | None:
    """The style of all texts together. None: fewer than LEAST_WORDS words, or not English."""
    words, sentences = Counter[str](), [list(words) for text in texts for words in _sentences(text)]
    for sentence in sentences:
        words.update(sentence)
    total = words.total()
    if total < LEAST_WORDS or not _is_english(words):
        return None
    marks = Counter(mark for text in texts for mark in _marks(text))
    return Style(
        num_words=total,
        function_words={word: 100 * words[word] / total for word in FUNCTION_WORDS},
        punctuation={mark: 100 * marks[mark] / total for mark in MARKS},
        sentence_words=total / len(sentences),
        word_chars=sum(len(word) * count for word, count in words.items()) / total,
        openings=_openings(sentences),
    )


def distance(one: Style, other: Style) -> float:
    """How far apart two styles are: 0 for the same rates, symmetrical, without unit.

    The mean, over every function word and mark, of |ln((a + s) / (b + s))|, where a and b are its rates per 100 words
    and s is 0.5. It is Burrows's Delta (Burrows 2002, 'Delta': a measure of stylistic difference, Literary and
    Linguistic Computing 17:3) with a logarithm in place of the z-score, which needs a corpus of many authors that one
    person's report does not have. Short texts are farther from everything than long ones, by chance alone: compare
    distances only between texts of about one length.
    """
    pairs = [*_pairs(one.function_words, other.function_words), *_pairs(one.punctuation, other.punctuation)]
    return sum(abs(math.log((a + _SMOOTHING) / (b + _SMOOTHING))) for a, b in pairs) / len(pairs)


def _is_english(words: Counter[str]) -> bool:
    listed, alone = (sum(words[word] for word in some) for some in (FUNCTION_WORDS, ENGLISH_ALONE))
    total = words.total()
    return 100 * listed >= LEAST_FUNCTION_WORDS * total and 100 * alone >= LEAST_ENGLISH_ALONE * total


def _pairs(one: dict[str, float], other: dict[str, float]) -> Iterator[tuple[float, float]]:
    return ((rate, other[name]) for name, rate in one.items())


def _sentences(text: str) -> Iterator[Iterator[str]]:
    """The words of each sentence that has any, in lower case."""
    for sentence in _SENTENCE_END.split(text):
        if _WORD.search(sentence):
            yield (match.group().lower() for match in _WORD.finditer(sentence))


def _marks(text: str) -> Iterable[str]:
    for written, mark in _SAME_MARK:
        text = written.sub(mark, text)
    return (char for char in text if char in MARKS)


def _openings(sentences: Sequence[Sequence[str]]) -> dict[str, float]:
    first = Counter(sentence[0] for sentence in sentences if sentence[0] in _LISTED)
    return {word: 100 * count / len(sentences) for word, count in first.most_common(NUM_OPENINGS)}


def _rounded(rates: dict[str, float]) -> dict[str, float]:
    return {name: round(rate, 2) for name, rate in rates.items()}
