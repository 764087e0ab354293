import pytest

from app.web.word_changes import Change, changes, shares

OLD, NEW = "The roof leaks, and I mind.\nStill.", "The old roof leaks and I sing.\nStill."
DRAFT = "We drank his tea, and by evening the bowl was full and we were not."


def test_words_that_went_and_came_are_found_in_their_places() -> None:
    assert [change for change in changes(OLD, NEW) if change.kind != "same"] == [
        Change("new", "old "),
        Change("gone", "leaks, "),
        Change("new", "leaks "),
        Change("gone", "mind.\n"),
        Change("new", "sing.\n"),
    ]


@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (NEW, OLD), ("", NEW), (OLD, ""), ("", ""), (" a  b", "b a ")])
def test_what_stayed_and_what_is_new_is_the_new_text_to_the_letter(old: str, new: str) -> None:
    found = changes(old, new)
    assert "".join(change.text for change in found if change.kind != "gone") == new
    assert "".join("".join(c.text for c in found if c.kind != "new").split()) == "".join(old.split())
    assert all(change.text for change in found)


def test_one_text_twice_has_no_changes() -> None:
    assert changes(OLD, OLD) == [Change("same", OLD)]


def test_a_draft_that_was_only_accepted_is_not_its_readers() -> None:
    assert shares(DRAFT, [DRAFT]).own == 0
    whole = shares(f"What I meant to write was a letter. {DRAFT}", [DRAFT])
    assert (whole.words, whole.drafted, whole.own) == (23, 15, 8)


def test_case_punctuation_and_place_make_nothing_ones_own() -> None:
    moved = "AND BY EVENING the bowl was full – and we were not: we drank his tea"
    assert shares(moved, [DRAFT]).drafted == 15


def test_rewording_makes_words_ones_own_again_and_a_chance_pair_is_no_loan() -> None:
    reworded = "We finished his tea, and at dusk the bowl stood full and we did not."
    found = shares(reworded, [DRAFT])
    assert (found.words, found.drafted) == (15, 6)  # “his tea and” and “full and we” are still as they were
    assert shares("By the bowl we sang, by the evening we slept.", [DRAFT]).drafted == 0


def test_without_drafts_all_is_ones_own_and_nothing_is_nothing() -> None:
    assert shares(DRAFT, []).own == shares(DRAFT, []).words
    assert (shares("", [DRAFT]).words, shares("", [DRAFT]).drafted) == (0, 0)


@pytest.mark.parametrize("text", ["屋根が漏れています", "ฝนตกหนักมาก", "屋顶漏水了"])
def test_writing_without_spaces_is_told_apart_too(text: str) -> None:
    assert shares(text, [text]).own == 0
    assert shares(text, ["ไม่ใช่ว่า漢字の練習"]).drafted == 0
