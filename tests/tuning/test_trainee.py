"""In what order one person's blocks are dealt."""

import pytest
import torch

from tuning.dataset import Block
from tuning.trainee import Deck

BLOCKS = tuple(Block((1, *range(2, 12), number), num_context=1, num_chars=1) for number in range(30))


def epochs(deck: Deck, number: int, steps: int) -> list[list[Block]]:
    return [[block for _ in range(steps) for block in deck.deal()] for _ in range(number)]


def test_every_block_comes_once_an_epoch_in_steps_of_about_the_same_size() -> None:
    deck = Deck(BLOCKS, tokens_per_step=50, seed=0)
    assert deck.tokens_per_step == 12 * 30 / 8
    steps = [len(deck.deal()) for _ in range(8)]
    assert (min(steps), max(steps), sum(steps)) == (3, 4, 30)
    assert all(sorted(map(repr, epoch)) == sorted(map(repr, BLOCKS)) for epoch in epochs(deck, 3, 8))


def test_of_what_is_known_a_third_comes_in_each_epoch_and_all_that_is_new() -> None:
    known, new = set(BLOCKS[:18]), set(BLOCKS[18:])
    deck = Deck(BLOCKS, tokens_per_step=50, seed=0, known=BLOCKS[:18])
    dealt = epochs(deck, 20, 5)
    assert all(len(epoch) == 12 + 6 and new < set(epoch) for epoch in dealt)
    assert set().union(*dealt) == known | new, "another third each time"


@pytest.mark.parametrize("known", [0, 1, 2, 29, 30])
def test_whatever_part_is_known_every_step_has_something_to_learn_from(known: int) -> None:
    deck = Deck(BLOCKS, tokens_per_step=50, seed=0, known=BLOCKS[:known])
    assert all(deck.deal() for _ in range(40))


def test_a_deck_that_is_taken_up_again_deals_what_it_would_have_dealt() -> None:
    decks = [Deck(BLOCKS, tokens_per_step=50, seed=0, known=BLOCKS[:18]) for _ in range(2)]
    epochs(decks[0], 1, 7)
    decks[1].order, decks[1].position = decks[0].order, decks[0].position
    decks[1].generator.set_state(decks[0].generator.get_state())
    assert epochs(decks[0], 3, 5) == epochs(decks[1], 3, 5)


def test_what_is_not_known_is_dealt_as_before() -> None:
    order = torch.randperm(30, generator=torch.Generator().manual_seed(5))
    assert Deck(BLOCKS, tokens_per_step=50, seed=5).order.equal(order)
