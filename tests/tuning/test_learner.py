"""One person's training: how long it is, and what is kept of it."""

import math
import random
from dataclasses import replace

import pytest
import torch

from tests.tiny_model import make_prefix, make_tiny
from tests.tuning.test_trainer import SETTINGS, job_of, trained
from tests.tuning.texts import CANARIES
from tuning.base_model import BaseModel
from tuning.dataset import Block
from tuning.evaluation import bits_per_char
from tuning.learner import Learner
from tuning.prefix_encoder import Parametrisation, start_at_random, start_from_tokens
from tuning.trainer import TrainingSettings


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama")


def test_the_best_look_is_kept_wherever_it_came(base: BaseModel) -> None:
    learner = Learner(base, job_of(base, CANARIES[0]), SETTINGS)
    prefixes = [start_at_random(base, 4, seed) for seed in range(3)]
    for prefix, loss in zip(prefixes, (3.0, 2.0, 2.5), strict=True):
        learner.looked(prefix, loss)
        learner.trainee.step += 1
    result = learner.result()
    assert (result.best_step, result.best_held_out_loss) == (1, 2.0)
    assert result.prefix.digest == prefixes[1].digest


@pytest.mark.parametrize("parametrisation", ["direct", "mlp", "residual"])
def test_a_prefix_is_nearer_to_its_start_than_what_was_learned_and_looks_are_at_it(
    base: BaseModel, parametrisation: Parametrisation
) -> None:
    start = make_prefix(base)
    job = replace(job_of(base, CANARIES[0]), start=start)
    settings = replace(SETTINGS, parametrisation=parametrisation, offset_kept=0.75)
    learner = Learner(base, job, settings)
    for parameter in learner.trainee.encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    learned = learner.trainee.encoder.prefix()
    for part in ("keys", "values"):
        for was, far, now in zip(*(getattr(each, part) for each in (start, learned, learner.present())), strict=True):
            expected = far if parametrisation == "mlp" else was + 0.75 * (far - was)
            torch.testing.assert_close(now, expected, rtol=1e-12, atol=1e-12)
    result = trained(base, job, settings)
    assert result.best_step > 0
    assert bits_per_char(base, result.prefix, job.split.stop) == pytest.approx(result.best_held_out_loss, rel=1e-9)


def test_without_a_shared_start_it_begins_from_the_newest_text_that_is_long_enough(base: BaseModel) -> None:
    job = job_of(base, CANARIES[0])
    newest = job.split.train[-1]
    tail = Block((*newest.token_ids[:5], *newest.token_ids[5:7]), num_context=5, num_chars=4)
    start = start_from_tokens(base, newest.token_ids[newest.num_context :], 4).digest
    for after in ((), (tail,)):
        begun = Learner(base, replace(job, split=replace(job.split, train=(*job.split.train, *after))), SETTINGS)
        assert begun.present().digest == start
    only = Learner(base, replace(job, split=replace(job.split, train=(tail,))), SETTINGS)
    assert only.present().digest == start_from_tokens(base, tail.token_ids[5:], 4).digest


def test_early_stopping_keeps_the_best_prefix_not_the_last(base: BaseModel) -> None:
    job = job_of(base, CANARIES[0])
    dice = random.Random(0)
    noise = Block((base.document_start_id, *(dice.randrange(3, 250) for _ in range(60))), num_context=1, num_chars=60)
    nothing_helps = replace(job, start=make_prefix(base), split=replace(job.split, stop=(noise,)))
    settings = replace(SETTINGS, learning_rate=0.1, patience=2, max_steps=60, epochs=100)
    result = trained(base, nothing_helps, settings)
    assert result.steps == 2 * settings.evaluate_every
    assert result.best_step == 0
    assert result.best_held_out_loss == min(look.held_out_loss or math.inf for look in result.history)
    assert result.prefix.digest == make_prefix(base).digest


def test_more_text_gets_more_steps_within_bounds() -> None:
    settings = TrainingSettings()
    steps = [settings.steps_for(tokens) for tokens in (1, 1_000, 5_000, 10_000, 1_000_000)]
    assert steps == [settings.min_steps, settings.min_steps, 30, 60, settings.max_steps]
    assert replace(settings, max_steps=7).steps_for(10_000) == 7


@pytest.mark.parametrize(
    ("steps", "known_share", "gains"),
    [
        (60, 0.5, True),
        (36, 0.34, True),
        (35, 0.5, False),  # few steps, of few texts
        (60, 0.3, False),  # hardly anything is known
    ],
)
def test_going_on_is_for_where_a_good_part_of_much_text_is_known(
    base: BaseModel, steps: int, known_share: float, gains: bool
) -> None:
    settings = replace(SETTINGS, min_steps=steps, max_steps=steps)
    train = tuple(Block((base.document_start_id, number), num_context=1, num_chars=1) for number in range(100))
    split = replace(job_of(base, CANARIES[0]).split, train=train, known=train[: round(100 * known_share)])
    assert settings.gains_by_going_on(split) is gains


def test_what_goes_on_takes_a_third_of_the_steps(base: BaseModel) -> None:
    settings = replace(SETTINGS, min_steps=37, max_steps=37)
    job = job_of(base, CANARIES[0])
    learners = [Learner(base, replace(job, goes_on=goes_on), settings) for goes_on in (False, True)]
    assert [learner.max_steps for learner in learners] == [37, 12]


def test_what_goes_on_has_learned_already_and_begins_at_once_at_half_as_much_more_rate(base: BaseModel) -> None:
    settings, job = TrainingSettings(), job_of(base, CANARIES[0])
    assert settings.suited_to(job) == settings
    going_on = settings.suited_to(replace(job, goes_on=True))
    assert going_on.learning_rate == 1.5 * settings.learning_rate
    assert (settings.schedule(0, 20), going_on.schedule(0, 20)) == (0.2, 1.0)
    assert going_on.schedule(19, 20) < 0.2


def test_only_what_goes_on_sees_less_of_what_it_knows(base: BaseModel) -> None:
    job = job_of(base, CANARIES[0])
    blocks = job.split.train
    job = replace(job, split=replace(job.split, known=blocks[:6]))
    settings = replace(SETTINGS, tokens_per_step=1)
    for goes_on, dealt in ((False, len(blocks)), (True, len(blocks) - 4)):
        deck = Learner(base, replace(job, goes_on=goes_on), settings).trainee.deck
        epoch = [block for _ in range(dealt) for block in deck.deal()]
        assert len(epoch) == len(set(epoch)) == dealt


@pytest.mark.parametrize(("every", "patience", "looking"), [(5, 5, 2), (10, 5, 2), (3, 1, 4), (4, 3, 4)])
def test_more_looks_or_fewer_end_a_training_no_sooner_and_hardly_later(every: int, patience: int, looking: int) -> None:
    settings = TrainingSettings(evaluate_every=every, patience=patience)
    other = settings.looking_every(looking)
    assert other.evaluate_every == looking
    assert every * patience <= other.evaluate_every * other.patience < every * patience + looking
