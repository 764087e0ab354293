from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.factories import UNTIDY_TEXT, UNTIDY_WORDS
from tests.tiny_model import MAX_POSITIONS, make_tiny
from tests.tuning.texts import CANARIES, plain, written
from tuning.base_model import BaseModel
from tuning.dataset import (
    LEAST_WORDS,
    STOP_CHARS,
    Block,
    Earlier,
    Split,
    Writing,
    WrittenText,
    build_split,
    leaves_enough,
    num_tokens,
    split_before,
)
from tuning.errors import TooLittleText

LENGTH = 4  # virtual tokens
LONGEST = MAX_POSITIONS - LENGTH


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny()


def split_of(base: BaseModel, writings: Sequence[Writing]) -> Split:
    return build_split(base, writings, num_virtual_tokens=LENGTH)


def scored_text(base: BaseModel, blocks: Sequence[Block]) -> str:
    return "".join(base.decode(block.token_ids[block.num_context :]) for block in blocks)


def whole_text(base: BaseModel, split: Split) -> str:
    return "\n".join(scored_text(base, blocks) for blocks in (split.train, split.stop, split.test))


def dated(*days: int) -> list[WrittenText]:
    return [WrittenText(f"text{day} " + plain(20), written_on=f"2024-01-{day:02}") for day in days]


def test_the_newest_fifth_by_date_is_the_test_set_whatever_the_order_given(base: BaseModel) -> None:
    split = split_of(base, dated(9, 2, 10, 4, 5, 6, 7, 8, 3, 1))
    test, stop, train = (scored_text(base, blocks) for blocks in (split.test, split.stop, split.train))
    assert "text9" in test
    assert "text10" in test
    assert "text8" in stop
    assert all(f"text{day} " in train for day in range(1, 8))


def test_without_all_dates_the_given_order_counts(base: BaseModel) -> None:
    writings = [
        WrittenText(f"text{n} " + plain(20), written_on=None if n == 2 else f"2024-01-{9 - n:02}") for n in range(6)
    ]
    assert "text5" in scored_text(base, split_of(base, writings).test)


def test_no_text_is_in_two_sets_and_none_is_lost(base: BaseModel) -> None:
    writings = written(CANARIES[0], 12)
    split = split_of(base, writings)
    sets = [scored_text(base, blocks) for blocks in (split.train, split.stop, split.test)]
    for writing in writings:
        assert sum(text.count(writing.text) for text in sets) == 1
    assert sum(map(len, sets)) == sum(len(writing.text) for writing in writings)


def test_what_early_stopping_looks_at_is_spread_over_the_training_years_and_bounded(base: BaseModel) -> None:
    split = split_of(base, [WrittenText(f"text{n} " + plain(600)) for n in range(50)])
    stop = scored_text(base, split.stop)
    numbers = [n for n in range(40) if f"text{n} " in stop]
    assert len(numbers) == 6
    assert min(numbers) < 10
    assert max(numbers) == 39
    assert len(stop) <= 1.2 * STOP_CHARS


def test_fewer_than_five_samples_are_split_inside_each_text_between_sentences(base: BaseModel) -> None:
    writings = [WrittenText(f"Begin{n}. " + plain(98) + f" End{n}.") for n in range(3)]
    split = split_of(base, writings)
    train, stop, test = (scored_text(base, blocks) for blocks in (split.train, split.stop, split.test))
    for number in range(3):
        assert f"Begin{number}." in train
        assert f"End{number}." in test
    assert train.endswith(".")
    assert 0.55 < len(train) / (len(train) + len(stop) + len(test)) < 0.8
    assert 0.12 < len(test) / (len(train) + len(stop) + len(test)) < 0.3
    assert stop


def test_what_is_kept_back_of_a_text_is_scored_behind_what_stands_before_it(base: BaseModel) -> None:
    """Else a voice trained on the beginning would be ahead of the base model by what it remembers of it."""
    text = f"Begin. {plain(98)} End."
    split = split_of(base, [WrittenText(text, prompt="A question?")])
    sets = (split.train, split.stop, split.test)
    for blocks, before in zip(sets[1:], sets, strict=False):
        read = base.decode(blocks[0].token_ids[1 : blocks[0].num_context])
        assert blocks[0].token_ids[0] == base.document_start_id
        assert len(read) > 20
        assert scored_text(base, before).endswith(read)
        assert not blocks[0].begins_text
    assert "question" in base.decode(split.train[0].token_ids[: split.train[0].num_context])


def test_a_single_text_without_any_sentence_or_space_is_still_split(base: BaseModel) -> None:
    split = split_of(base, [WrittenText("漢字" * 1200)])
    assert min(num_tokens(split.train), num_tokens(split.stop), num_tokens(split.test)) > 0
    assert len(whole_text(base, split)) > 2300


@pytest.mark.parametrize(("given", "judging"), [(3, 3), (4, 4), (5, 1), (7, 1), (8, 2), (13, 3), (40, 8)])
def test_of_how_many_texts_the_judging_part_is_made_is_known(base: BaseModel, given: int, judging: int) -> None:
    writings = [WrittenText(f"Begin{n}. " + plain(98) + f" End{n}.") for n in range(given)]
    split = split_of(base, writings)
    judged = scored_text(base, split.test)
    assert split.num_test_samples == judging == sum(f"End{n}." in judged for n in range(given))


def test_too_little_text_says_how_many_words_are_missing(base: BaseModel) -> None:
    with pytest.raises(TooLittleText, match=rf"about 30 words.*at least {LEAST_WORDS}.*about {LEAST_WORDS - 30} more"):
        split_of(base, [WrittenText(plain(30))])
    with pytest.raises(TooLittleText):
        split_of(base, [])
    with pytest.raises(TooLittleText, match=f"about {UNTIDY_WORDS} words"):
        split_of(base, [WrittenText(UNTIDY_TEXT)])


def test_blank_samples_count_for_nothing(base: BaseModel) -> None:
    assert split_of(base, [*written(CANARIES[0], 6), WrittenText("  \n ")]).num_samples == 6


def test_every_block_begins_a_text_with_the_document_start_and_fits_behind_the_prefix(base: BaseModel) -> None:
    split = split_of(base, [WrittenText(plain(120)) for _ in range(5)])
    blocks = (*split.train, *split.stop, *split.test)
    assert max(len(block.token_ids) for block in blocks) == LONGEST
    assert split.test[0].token_ids[0] == base.document_start_id
    assert split.test[0].num_context == 1


def test_a_long_text_is_scored_once_and_its_blocks_overlap_only_in_what_is_not_scored(base: BaseModel) -> None:
    writings = [WrittenText(plain(200)) for _ in range(5)]
    blocks = split_of(base, writings).test
    assert len(blocks) > 3
    assert scored_text(base, blocks) == writings[-1].text
    for before, after in pairwise(blocks):
        assert after.num_context == LONGEST // 4
        assert after.token_ids[: after.num_context] == before.token_ids[-after.num_context :]


def test_characters_are_those_of_the_scored_text(base: BaseModel) -> None:
    writings = [WrittenText("Grüße — " + plain(150)) for _ in range(5)]
    assert sum(block.num_chars for block in split_of(base, writings).test) == len(writings[-1].text)


def test_a_prompt_is_read_but_not_scored_and_leaves_half_the_block(base: BaseModel) -> None:
    prompted = [WrittenText(plain(25), prompt="Say it! " * 100) for _ in range(5)]
    block = split_of(base, prompted).test[0]
    assert block.num_context == LONGEST // 2
    assert base.decode(block.token_ids[: block.num_context]).endswith("Say it! \n\n")
    assert scored_text(base, split_of(base, prompted).test) == prompted[-1].text


def test_the_early_stopping_set_stays_small_however_much_there_is(base: BaseModel) -> None:
    split = split_of(base, [WrittenText(plain(600)) for _ in range(40)])
    assert sum(block.num_chars for block in split.stop) <= STOP_CHARS


def test_training_reads_long_texts_in_short_blocks_and_still_scores_every_token(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.dataset.TRAIN_BLOCK_TOKENS", 64)
    writings = [WrittenText(plain(60)) for _ in range(5)]
    split = split_of(base, writings)
    assert max(len(block.token_ids) for block in split.train) == 64
    assert scored_text(base, split.train) == writings[0].text * 3
    assert len(split.test[0].token_ids) == LONGEST


def test_the_digest_tells_other_data_apart(base: BaseModel) -> None:
    one, same, other = (split_of(base, written(canary)) for canary in (CANARIES[0], CANARIES[0], CANARIES[1]))
    assert one.digest == same.digest != other.digest


Builder = Callable[[BaseModel, Sequence[Writing]], Split]


def shared_list_builder() -> Builder:
    """The fault this guards against: a list made once, outside the loop over people."""
    seen: list[Writing] = []

    def build(base: BaseModel, writings: Sequence[Writing]) -> Split:
        seen.extend(writings)
        return split_of(base, seen)

    return build


def canary_leaks(base: BaseModel, build: Builder) -> bool:
    """Whether a word of one person is in the blocks of the other, whoever comes first."""
    splits = {canary: build(base, written(canary)) for canary in CANARIES}
    return any(foreign in whole_text(base, splits[own]) for own, foreign in (CANARIES, CANARIES[::-1]))


@pytest.mark.parametrize(
    ("build", "leaks"), [(split_of, False), (shared_list_builder(), True)], ids=["ours", "shared list"]
)
def test_no_persons_words_reach_anothers_blocks_and_the_check_catches_a_shared_list(
    base: BaseModel, build: Builder, leaks: bool
) -> None:
    assert canary_leaks(base, build) is leaks


def test_a_comparison_gives_its_own_test_set_and_everything_else_is_for_training_and_stopping(base: BaseModel) -> None:
    texts = [WrittenText(f"text{n} " + plain(20)) for n in range(8)]
    split = split_before(base, texts[:6], texts[6:], num_virtual_tokens=LENGTH)
    train, stop, test = (scored_text(base, blocks) for blocks in (split.train, split.stop, split.test))
    assert test == texts[6].text + texts[7].text
    assert stop == texts[5].text
    assert train == "".join(text.text for text in texts[:5])


def identified(number: int) -> list[WrittenText]:
    return [WrittenText(f"text{n} " + plain(20), id=f"sample-{n}") for n in range(number)]


def texts_in(base: BaseModel, blocks: Sequence[Block], writings: Sequence[WrittenText]) -> set[str]:
    text = scored_text(base, blocks)
    return {writing.id for writing in writings if writing.text in text}


def test_a_split_tells_which_samples_are_trained_on(base: BaseModel) -> None:
    writings = identified(20)
    split = split_of(base, writings)
    assert set(split.trained_ids) == texts_in(base, split.train, writings)
    assert len(split.trained_ids) == 14
    few = split_of(base, [replace(text, text=text.text + plain(20)) for text in identified(4)])
    assert set(few.trained_ids) == {f"sample-{n}" for n in range(4)}


@pytest.mark.parametrize("new_ones_first", [False, True], ids=["newer", "older"])
def test_only_what_an_earlier_training_never_knew_judges_and_what_it_was_trained_on_is_trained_on_again(
    base: BaseModel, new_ones_first: bool
) -> None:
    old, every = identified(20), identified(32)
    trained = frozenset(split_of(base, old).trained_ids)
    known = frozenset(text.id for text in old)
    writings = [*every[20:], *old] if new_ones_first else every
    split = build_split(base, writings, num_virtual_tokens=LENGTH, earlier=Earlier(trained, known))
    test, stop = (texts_in(base, blocks, writings) for blocks in (split.test, split.stop))
    assert len(test) == 6
    assert test.isdisjoint(known)
    assert stop.isdisjoint(trained)
    assert test.isdisjoint(stop)
    assert set(split.trained_ids) == {writing.id for writing in writings} - test - stop
    assert set(split.trained_ids) > trained
    assert split.known == split_of(base, old).train
    assert set(split.known) < set(split.train)
    assert split_of(base, old).known == ()


def test_a_training_may_go_on_only_where_enough_is_new_to_judge_by() -> None:
    writings = identified(13)
    earlier = Earlier(frozenset(f"sample-{n}" for n in range(7)), frozenset(f"sample-{n}" for n in range(10)))
    assert leaves_enough(writings, earlier)
    assert not leaves_enough(writings[:10], earlier), "nothing new: it would be judged by what judged it before"
    assert not leaves_enough(writings[:11], earlier), "one new, and two are needed to judge by"
    assert not leaves_enough(writings[1:], earlier), "one it was trained on was deleted"
    assert leaves_enough([*writings[:9], *writings[10:]], earlier), "one that judged it was deleted"
    everything = Earlier(earlier.known, earlier.known)
    assert not leaves_enough(writings, everything), "three to judge by, none to say when to stop"
    assert not leaves_enough(identified(4), Earlier(frozenset({"sample-0"}))), "too few to hold out whole ones"
