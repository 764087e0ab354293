"""Lines made whole, HTML as text, and long pieces in parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.intake.markup import text_of
from app.intake.splitting import cut_to_fit, is_long, marked, suggested_parts, unmarked
from app.intake.wrapping import reflowed, unwrapped

WRAPPED = (
    "The ferry was late again, and nobody minded. We stood\n"
    "along the rail with our collars up and watched the\n"
    "gulls argue over a crust.\n"
)


def test_lines_that_were_full_are_joined() -> None:
    assert unwrapped(WRAPPED).count("\n") == 1
    assert unwrapped(WRAPPED) == WRAPPED.replace("\n", " ", 2)


@pytest.mark.parametrize(
    "text",
    [
        "Roses are red\nviolets are blue\nand this is a line that is somewhat longer\nthan those",
        "Dear Bob,\n\nthank you for the cake, which was gone by Monday.\n\nYours,\nAda",
        "- one thing that is long enough to fill the line up\n- another thing that is long enough to do so\n- third",
        "Short.\nLines.",
        "x" * 500 + "\nand so on",
        "",
    ],
)
def test_lines_that_their_author_ended_stay(text: str) -> None:
    assert unwrapped(text) == text


def test_divided_words_are_mended_where_that_is_asked_for() -> None:
    text = "We stood along the rail with our collars up and watch-\ned the gulls, and a well-\nKnown crust went by"
    assert "watched the gulls" in unwrapped(text, hyphens=True)
    assert "well- Known" in unwrapped(text, slack=0.9, hyphens=True)


def test_flowing_lines_are_joined_by_their_spaces() -> None:
    assert reflowed("One \ntwo\n\n> quoted \n> more\n-- \nAda") == "One two\n\n> quoted \n> more\n-- \nAda"
    assert reflowed("wo \nrd", delsp=True) == "word"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One</p><p>Two<br>lines</p>", "One\n\nTwo\nlines"),
        ("One &amp; <b>two</b>\n  words", "One & two words"),
        ("<blockquote><p>Theirs</p></blockquote><p>Mine</p>", "> Theirs\n\nMine"),
        ("<ul><li>a</li><li>b</li></ul>", "a\nb"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("<script>alert(1)</script><style>p{}</style><p>Seen</p>", "Seen"),
        ("<p>Never closed <i>at all", "Never closed at all"),
        ("</div></p>Stray", "Stray"),
        ("no markup", "no markup"),
        ("<" * 1000, "<" * 1000),
        ("<div>" * 3000 + "deep", "deep"),
    ],
)
def test_html_is_read_as_text(html: str, text: str) -> None:
    assert text_of(html) == text


@given(st.text(alphabet='<>/abp"= &;!-', max_size=200))
def test_no_html_makes_the_reader_fail(html: str) -> None:
    text_of(html)


CHAPTER = "A paragraph with ten words in it, give or take. " * 6


def test_a_long_text_is_cut_at_its_headings() -> None:
    text = "\n\n".join(f"Chapter {number}\n\n{CHAPTER * 6}" for number in range(1, 9))
    parts = suggested_parts(text)
    assert [part.split("\n")[0] for part in parts] == [f"Chapter {number}" for number in range(1, 9)]
    assert is_long(text)


def test_a_long_text_without_headings_is_cut_between_paragraphs() -> None:
    text = "\n\n".join([CHAPTER.strip()] * 60)
    parts = suggested_parts(text)
    assert len(parts) > 3
    assert "\n\n".join(parts) == text


def test_a_short_text_stays_in_one_piece() -> None:
    assert suggested_parts(CHAPTER) == [CHAPTER.strip()]
    assert not is_long(CHAPTER)


def test_cuts_are_edited_as_lines_of_signs() -> None:
    assert unmarked(marked(["One.", "Two.", "Three."])) == ["One.", "Two.", "Three."]
    assert unmarked("One.\r\n=======  \r\n\r\n=====\r\nTwo.") == ["One.", "Two."]
    assert unmarked("a ===== b") == ["a ===== b"]


@given(st.text(alphabet="ab \n", max_size=300), st.integers(5, 50))
def test_cutting_to_fit_loses_nothing_but_space(text: str, most: int) -> None:
    pieces = cut_to_fit(text, most)
    assert all(len(piece) <= most for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())
