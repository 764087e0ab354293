import random
from difflib import SequenceMatcher

import pytest

from app.pieces.reading import BUNDLED, read_pieces
from app.web import word_changes
from app.web.word_changes import Change, changes, shares
from app.web.write import MAX_COMPARED_CHARS

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


def two_of_few_words() -> tuple[str, str]:
    drawn = random.Random(0)
    one, other = (" ".join(drawn.choice("ab") for _ in range(4000)) for _ in range(2))
    return one, other


def one_word_in_two_differs() -> tuple[str, str]:
    apart = [chr(0x4E00 + number) for number in range(2000)]
    return " ".join(f"{word} x" for word in apart), " ".join(f"{word} y" for word in apart)


@pytest.mark.parametrize("texts", [two_of_few_words(), one_word_in_two_differs()], ids=["few words", "many runs"])
def test_no_two_texts_take_more_than_so_many_steps(texts: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    look = SequenceMatcher.find_longest_match

    def counted(self: SequenceMatcher[str], alo: int, ahi: int, blo: int, bhi: int) -> object:
        before, places = vars(self)["a"], vars(self)["b2j"]
        looked_at.append(sum(1 + len(places.get(word, ())) for word in before[alo:ahi]))
        return look(self, alo, ahi, blo, bhi)

    monkeypatch.setattr(SequenceMatcher, "find_longest_match", counted)
    old, new = texts
    found = changes(old, new)
    assert sum(looked_at) <= word_changes.MOST_STEPS
    assert "".join(change.text for change in found if change.kind != "gone") == new
    assert "".join("".join(change.text for change in found if change.kind != "new").split()) == "".join(old.split())


def test_ordinary_writing_is_compared_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    written = " ".join(piece.text for piece in read_pieces(BUNDLED))
    old = written[:MAX_COMPARED_CHARS]
    others = written[-MAX_COMPARED_CHARS:]
    drawn = random.Random(0)
    reworded = " ".join(word if drawn.random() < 0.8 else drawn.choice(others.split()) for word in old.split())
    for new in (reworded, others):
        found = changes(old, new)
        with monkeypatch.context() as endless:
            endless.setattr(word_changes, "MOST_STEPS", 2**40)
            assert changes(old, new) == found
    assert len(old) == len(others) == MAX_COMPARED_CHARS


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
