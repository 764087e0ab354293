import pytest

from app.web import formats
from app.web.formats import excerpt


def test_numbers_have_thousands() -> None:
    assert formats.number(1840) == "1,840"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 s"),
        (40, "40 s"),
        (90, "1 min 30 s"),
        (178, "3 min"),
        (400, "7 min"),
        (4800, "1 h 20 min"),
        (3600, "1 h"),
        (None, "1 s"),
    ],
)
def test_durations_are_said_as_people_do(seconds: float | None, said: str) -> None:
    assert formats.duration(seconds) == said


def test_places_in_the_queue() -> None:
    assert [formats.ordinal(place) for place in (1, 2, 10, 11)] == ["first", "second", "tenth", "number 11"]


def test_what_was_not_measured_is_a_dash() -> None:
    assert formats.bits(None) == formats.percent(None) == formats.when(None) == "–"
    assert formats.bits(2.34567) == "2.346"
    assert formats.percent(9.04) == "9.0 %"
    assert formats.percent(12.4) == "12 %"


def test_times_carry_their_moment_for_the_browser() -> None:
    assert formats.when(0) == '<time datetime="1970-01-01T00:00:00Z">1 Jan 1970, 00:00 UTC</time>'
    assert formats.when(7, seconds=True) == (
        '<time datetime="1970-01-01T00:00:07Z" data-seconds>1 Jan 1970, 00:00:07 UTC</time>'
    )
    assert formats.day("2026-05-02") == '<time datetime="2026-05-02">2 May 2026</time>'


def test_a_sample_without_a_title_is_called_by_its_first_words() -> None:
    assert formats.preview("On jam", "text") == "On jam"
    assert formats.preview(None, "short\n and  sweet") == "short and sweet"
    called = formats.preview(None, "word " * 50)
    assert called.endswith("word …")
    assert len(called) <= formats.PREVIEW_CHARS + 2


@pytest.mark.parametrize("title", ["19", " 2024-03 ", "№ 7"])
def test_a_title_without_a_letter_says_nothing_and_the_first_words_stand_for_it(title: str) -> None:
    assert formats.preview(title, "The ferry was late") == "The ferry was late"
    assert formats.preview(f"mine {title}", "The ferry was late").startswith("mine ")


def test_figures_that_are_no_numbers_are_not_shown() -> None:
    assert formats.figure({"steps": 3}, "steps") == 3.0
    assert formats.figure({"reason": "because"}, "reason") is None
    assert formats.figure({}, "steps") is None


def test_sizes() -> None:
    assert formats.size(2048) == "2 KiB"
    assert formats.size(4 * 1024**2) == "4 MiB"


def test_an_excerpt_is_the_whole_of_a_short_text_and_both_ends_of_a_long_one() -> None:
    assert excerpt("Short.\n\nTwo  lines.") == "Short. Two lines."
    long = " ".join(f"word{number}" for number in range(200))
    assert excerpt(long).startswith("word0 word1 ")
    assert " … word" in excerpt(long)
    assert excerpt(long).endswith(" word199")
    assert len(excerpt(long)) < 340
    assert len(excerpt("x" * 5000)) < 340
