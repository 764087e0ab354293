import pytest

from app.web.style_picture import MARK_NAMES, MOST_WORDS, picture_of
from tests.app.web.training import STYLES
from tuning.style import MARKS


def rows(title: str) -> dict[str, tuple[float | None, ...]]:
    picture = picture_of({"style": STYLES})
    assert picture is not None
    return {row.label: row.values for group in picture.groups if group.title.startswith(title) for row in group.rows}


def test_all_three_stand_on_one_scale_from_nothing_to_a_little_beyond_the_most() -> None:
    picture = picture_of({"style": STYLES})
    assert picture is not None
    (sentence, _) = picture.groups[0].rows
    assert sentence.values == (21.4, 12.9, 18.2)
    assert sentence.places == pytest.approx((95.2, 57.4, 81.0), abs=0.1)
    assert picture.num_words == (4210, 1404, 1388)


def test_words_come_in_the_order_in_which_the_person_differs_from_the_base_model() -> None:
    assert list(rows("Small words")) == ["but", "the", "and", "of"]


def test_what_nobody_uses_is_not_drawn_and_marks_have_names() -> None:
    assert rows("Punctuation") == {"comma": (7.0, 7.0, 7.0), "semicolon": (1.2, 0.1, 0.8)}
    assert "quite" not in rows("Small words")


def test_an_opening_that_was_not_counted_stands_nowhere() -> None:
    assert rows("How sentences") == {"the": (12.5, 14.0, 13.0), "but": (6.25, None, 5.0), "he": (None, 9.0, None)}
    picture = picture_of({"style": STYLES})
    assert picture is not None
    assert [row.places for row in picture.groups[-1].rows if row.label == "he"] == [(None, 95.2, None)]


def test_of_many_words_the_rest_is_put_by_and_none_is_lost() -> None:
    words = {f"word{number}": float(number) for number in range(1, 31)}
    styles = {writer: {**style, "function_words_per_100": words} for writer, style in STYLES.items()}
    picture = picture_of({"style": styles})
    assert picture is not None
    assert picture.rest is not None
    shown = next(group for group in picture.groups if group.title.startswith("Small words"))
    assert len(shown.rows) == MOST_WORDS
    assert {row.label for row in (*shown.rows, *picture.rest.rows)} == set(words)


@pytest.mark.parametrize(
    "report", [{}, {"style": None}, {"style": 3}, {"style": {**STYLES, "base": None}}, {"style": {"samples": {}}}]
)
def test_without_all_three_there_is_no_picture(report: dict[str, object]) -> None:
    assert picture_of(report) is None


def test_a_style_of_another_shape_breaks_no_page() -> None:
    odd = {writer: {"function_words_per_100": [], "openings_pct": {"the": "much"}} for writer in STYLES}
    picture = picture_of({"style": odd})
    assert picture is not None
    assert [group.title for group in picture.groups] == ["Sentences and words"]


def test_every_mark_that_is_counted_has_a_name() -> None:
    assert set(MARKS) == set(MARK_NAMES)
