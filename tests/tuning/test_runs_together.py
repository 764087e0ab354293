"""Several runs in one worker's hands: each has its own ending, whatever befalls the others."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from sqlalchemy import update

from storage import outbox, run_claims
from storage.models import TuningRun
from tests.tuning.runs import (
    LINE,
    PIECES,
    QUICK,
    ask,
    claim_elsewhere,
    delete_first_sample,
    let_lease_expire,
    published,
)
from tuning import trainer, tuning_job
from tuning.base_model import BaseModel
from tuning.learner import Learner
from tuning.prefix import Prefix
from tuning.trainee import Trainee
from tuning.training_step import StepPlan, train_step
from tuning.tuning_job import tune
from tuning.workbench import Bench


def together(bench: Bench, runs_together: int) -> Bench:
    return replace(bench, config=replace(bench.config, runs_together=runs_together))


def seed_of(trainee: Trainee) -> int:
    return trainee.deck.generator.initial_seed()


def test_a_worker_takes_the_runs_that_wait_and_each_ends_as_if_alone(bench: Bench) -> None:
    several, alone = ([ask(bench.storage, theirs(number), seed=number) for number in range(3)] for _ in range(2))
    for asked in alone:
        tune(bench, asked.run_id)
    tune(together(bench, 3), several[0].run_id)
    for asked, twin in zip(several, alone, strict=True):
        assert (asked.run().state, asked.run().published, asked.run().attempts) == ("succeeded", True, 1)
        one, other = published(bench, asked), published(bench, twin)
        for tensor, same in zip((*one.keys, *one.values), (*other.keys, *other.values), strict=True):
            torch.testing.assert_close(tensor, same, rtol=0, atol=2e-3)  # float16, sums in another order
        assert {metric["step"] for metric in asked.metrics()} == {metric["step"] for metric in twin.metrics()}
        assert asked.run().figures["base_bits_per_char"] == pytest.approx(twin.run().figures["base_bits_per_char"])
    bare = {round(asked.run().figures["base_bits_per_char"], 4) for asked in several}
    assert len(bare) == 3, "each was judged on other texts"


def theirs(number: int) -> tuple[str, ...]:
    """Pieces of one of several people, none of which is like another's."""
    words = ("heliotrope", "zinfandel", "quokka")[number]
    return tuple(f"{words} {piece.replace('waves', words)} {words * (number + 1)}." for piece in PIECES)


def test_by_default_a_processor_takes_one_run_at_a_time(bench: Bench) -> None:
    first, second = ask(bench.storage), ask(bench.storage)
    tune(bench, first.run_id)
    assert (first.run().state, second.run().state) == ("succeeded", "queued")


def test_of_runs_that_share_steps_each_has_its_own_ending(bench: Bench) -> None:
    sound, cancelled, empty = ask(bench.storage), ask(bench.storage), ask(bench.storage)
    for _ in PIECES:
        delete_first_sample(empty)
    with bench.storage.database.session() as session:
        asked_for = update(TuningRun).where(TuningRun.id == cancelled.run_id).values(cancel_requested=True)
        session.execute(asked_for)
    tune(together(bench, 3), sound.run_id)
    assert [asked.run().state for asked in (sound, cancelled, empty)] == ["succeeded", "cancelled", "failed"]
    assert empty.run().error_code == "too_little_text"


def test_a_step_that_breaks_among_several_ends_only_the_run_whose_fault_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody knows whose fault it is: all go back into the queue, and each is trained by itself from then on."""
    several = [ask(bench.storage, seed=number) for number in range(3)]
    poison = several[1].run().seed

    def step(base: BaseModel, trainees: Sequence[Trainee], plan: StepPlan) -> list[float]:
        if poison in map(seed_of, trainees):
            raise RuntimeError(LINE)
        return train_step(base, trainees, plan)

    monkeypatch.setattr(trainer, "train_step", step)
    tune(together(bench, 3), several[0].run_id)
    assert [(asked.run().state, asked.run().attempts) for asked in several] == [("queued", 1)] * 3
    assert all("to be trained by itself" in asked.messages()[-1] for asked in several)
    with bench.storage.database.reading() as session:
        assert {asked.run_id for asked in several} <= {run_id for _, run_id in outbox.unsent(session)}
    for asked in several:
        tune(together(bench, 3), asked.run_id)
        assert asked.run().attempts == 2
    assert [asked.run().state for asked in several] == ["succeeded", "failed", "succeeded"]
    assert several[1].run().error_code == "internal"
    assert "lighthouse" not in caplog.text


def test_what_ended_a_worker_once_is_not_taken_beside_others_again(bench: Bench) -> None:
    fresh, waiting, interrupted = (ask(bench.storage, seed=number) for number in range(3))
    assert claim_elsewhere(interrupted) is not None
    let_lease_expire(interrupted)
    with bench.storage.database.session() as session:
        run_claims.expire_leases(session)
    tune(together(bench, 3), fresh.run_id)
    assert (fresh.run().state, waiting.run().state) == ("succeeded", "succeeded")
    assert interrupted.run().state == "queued", "it is left to be taken by itself"
    another = ask(bench.storage)
    tune(together(bench, 3), interrupted.run_id)
    assert (interrupted.run().state, another.run().state) == ("succeeded", "queued")


def test_a_start_that_fails_leaves_no_seat_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    sound, broken = ask(bench.storage), ask(bench.storage, seed=7)
    trained: list[set[int]] = []

    def look(learner: Learner, prefix: Prefix, loss: float) -> None:
        if learner._job.seed == 7:
            raise RuntimeError(LINE)
        looked(learner, prefix, loss)

    def step(base: BaseModel, trainees: Sequence[Trainee], plan: StepPlan) -> list[float]:
        trained.append({*map(seed_of, trainees)})
        return train_step(base, trainees, plan)

    looked = Learner.looked
    monkeypatch.setattr(Learner, "looked", look)
    monkeypatch.setattr(trainer, "train_step", step)
    tune(together(bench, 2), sound.run_id)
    assert (sound.run().state, broken.run().state) == ("succeeded", "failed")
    assert trained
    assert all(seeds == {0} for seeds in trained)


def test_a_run_that_waits_takes_a_seat_as_soon_as_there_is_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning_job, "LOOK_FOR_MORE_EVERY_S", 0.0)
    longer = tuple(f"{piece} {number}" for number in range(4) for piece in PIECES)
    first, second, third = ask(bench.storage), ask(bench.storage, longer), ask(bench.storage)
    by_length = replace(QUICK, max_steps=400, min_steps=1, epochs=6)
    tune(together(replace(bench, settings=by_length), 2), first.run_id)
    ended = [asked.run().finished_at or 0.0 for asked in (first, second, third)]
    assert all(asked.run().state == "succeeded" for asked in (first, second, third))
    assert second.run().started_at < ended[0] <= third.run().started_at < ended[2] < ended[1]
