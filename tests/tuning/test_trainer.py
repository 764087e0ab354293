import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.tiny_model import FAMILIES, make_prefix, make_tiny
from tests.tuning.texts import CANARIES, plain, written
from tuning.base_model import BaseModel
from tuning.dataset import Block, WrittenText, build_split, num_tokens
from tuning.errors import InvalidCheckpoint, Stopped
from tuning.prefix_encoder import Parametrisation
from tuning.recomputation import can_recompute, recomputing
from tuning.scoring import Pass, pass_losses, row_losses
from tuning.trainer import Progress, Stack, TrainingJob, TrainingResult, TrainingSettings, train_prefixes
from tuning.training_step import StepPlan, _rows

SETTINGS = TrainingSettings(
    num_virtual_tokens=4, hidden=16, learning_rate=0.05, tokens_per_step=200, max_steps=6, evaluate_every=2, patience=9
)


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama")


def job_of(base: BaseModel, canary: str, number: int = 6, seed: int = 0) -> TrainingJob:
    return TrainingJob(build_split(base, written(canary, number), num_virtual_tokens=4), seed=seed)


def trained(base: BaseModel, job: TrainingJob, settings: TrainingSettings = SETTINGS) -> TrainingResult:
    (result,) = train_prefixes(base, [job], settings)
    assert result is not None
    return result


def tensors_of(result: TrainingResult | None) -> list[Tensor]:
    assert result is not None
    return [*result.prefix.keys, *result.prefix.values]


def furthest(one: TrainingResult | None, other: TrainingResult | None) -> float:
    pairs = zip(tensors_of(one), tensors_of(other), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def losses(result: TrainingResult) -> list[tuple[int, float | None, float | None]]:
    return [(look.step, look.train_loss, look.held_out_loss) for look in result.history]


def steps_behind(tensor: Tensor) -> set[str]:
    """Names of the operations that a backward pass from `tensor` runs through."""
    names, waiting = set(), [tensor.grad_fn]
    while waiting:
        if (node := waiting.pop()) is not None:
            names.add(node.name())
            waiting += [following for following, _ in node.next_functions]
    return names


def test_no_gradient_adds_up_in_an_order_that_threads_choose() -> None:
    prefixes, counts = torch.arange(18.0).view(3, 2, 3).requires_grad_(), (1, 3, 2)
    by_index = prefixes[[owner for owner, count in enumerate(counts) for _ in range(count)]]
    assert "IndexBackward0" in steps_behind(by_index), "this is what would not be seen"
    rows = _rows(prefixes, counts)
    assert torch.equal(rows, by_index)
    assert "ExpandBackward0" in steps_behind(rows)
    assert not {"IndexBackward0", "IndexSelectBackward0"} & steps_behind(rows)
    rows.sum().backward()  # type: ignore[no-untyped-call]
    assert prefixes.grad is not None
    assert prefixes.grad[:, 0, 0].tolist() == list(counts)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_lowers_the_held_out_loss_on_every_family(family: str) -> None:
    base = make_tiny(family)
    result = trained(base, job_of(base, CANARIES[0]))
    assert result.best_held_out_loss < result.base_held_out_loss
    assert result.best_held_out_loss == min(look.held_out_loss or math.inf for look in result.history)
    assert result.prefix.layer_shapes == base.layer_shapes
    assert result.prefix.num_virtual_tokens == 4


@pytest.mark.parametrize("parametrisation", ["direct", "mlp", "residual"])
@pytest.mark.parametrize("initialisation", ["text", "random"])
def test_every_parametrisation_learns_from_every_start(
    base: BaseModel, parametrisation: Parametrisation, initialisation: Literal["text", "random"]
) -> None:
    settings = replace(SETTINGS, parametrisation=parametrisation, initialisation=initialisation)
    history = trained(base, job_of(base, CANARIES[0]), settings).history
    assert min(look.held_out_loss or math.inf for look in history) < (history[0].held_out_loss or 0.0)


def test_residual_training_begins_at_the_given_prefix(base: BaseModel) -> None:
    start = make_prefix(base)
    job = replace(job_of(base, CANARIES[0]), start=start)
    result = trained(base, job, replace(SETTINGS, max_steps=1, learning_rate=0.0))
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(result), (*start.keys, *start.values), strict=True))


def test_a_start_of_another_length_is_refused(base: BaseModel) -> None:
    job = replace(job_of(base, CANARIES[0]), start=make_prefix(base, num_virtual_tokens=5))
    with pytest.raises(ValueError, match="5 virtual tokens"):
        trained(base, job)


def test_no_gradient_reaches_the_base_model_and_its_weights_stay(base: BaseModel) -> None:
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    trained(base, job_of(base, CANARIES[0]))
    assert all(parameter.grad is None for parameter in base.model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in base.model.state_dict().items())


def test_the_same_seed_gives_the_same_prefix_to_the_bit_and_another_seed_another(base: BaseModel) -> None:
    one, same, other = (trained(base, job_of(base, CANARIES[0], seed=seed)) for seed in (1, 1, 2))
    assert furthest(one, same) == 0.0
    assert furthest(one, other) > 0.0


def test_the_global_random_state_neither_matters_nor_changes(base: BaseModel) -> None:
    torch.manual_seed(1)
    one = trained(base, job_of(base, CANARIES[0]))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert furthest(one, trained(base, job_of(base, CANARIES[0]))) == 0.0
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("family", FAMILIES)
def test_stacked_training_equals_training_each_alone(family: str) -> None:
    base = make_tiny(family)
    jobs = [job_of(base, CANARIES[0], 6), job_of(base, CANARIES[1], 11, seed=3), job_of(base, "quixotic", 8, seed=5)]
    for together, job in zip(train_prefixes(base, jobs, SETTINGS), jobs, strict=True):
        alone = trained(base, job)
        assert furthest(together, alone) < 1e-10
        assert together is not None
        assert together.best_step == alone.best_step
        for ours, theirs in zip(losses(together), losses(alone), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-10)


def test_an_early_stop_of_one_leaves_the_others_as_they_were_alone(base: BaseModel) -> None:
    settings = replace(SETTINGS, evaluate_every=1, patience=1, learning_rate=0.5, warmup_steps=10, max_steps=14)
    jobs = [job_of(base, CANARIES[0]), job_of(base, CANARIES[1], 7, seed=3)]
    together = train_prefixes(base, jobs, settings)
    alone = [trained(base, job, settings) for job in jobs]
    assert len({result.steps for result in alone}) == 2
    for ours, theirs in zip(together, alone, strict=True):
        assert ours is not None
        assert ours.steps == theirs.steps
        assert furthest(ours, theirs) < 1e-10


@dataclass
class Course:
    """What a listener hears of one person's training. leave_at: the step after which this person is stopped."""

    leave_at: int | None = None
    steps: list[int] = field(default_factory=list)
    ended: list[TrainingResult | None] = field(default_factory=list)

    def on_progress(self, progress: Progress) -> None:
        self.steps.append(progress.step)
        if progress.step == self.leave_at:
            raise Stopped("cancelled")

    def on_checkpoint(self, data: bytes) -> None:
        assert data

    def on_end(self, result: TrainingResult | None) -> None:
        self.ended.append(result)


def test_people_join_and_leave_in_mid_flight_and_each_trains_as_alone(base: BaseModel) -> None:
    jobs = [job_of(base, CANARIES[0]), job_of(base, CANARIES[1], 9, seed=3), job_of(base, "quixotic", 7, seed=5)]
    first, leaving, late = Course(), Course(leave_at=3), Course()
    stack = Stack(base, SETTINGS)
    stack.join(jobs[0], first)
    stack.step()
    stack.join(jobs[1], leaving)
    stack.step()
    stack.step()
    stack.join(jobs[2], late)
    assert len(stack) == 3
    while len(stack):
        stack.step()
    assert (first.steps, leaving.steps, late.steps) == (list(range(7)), [0, 1, 2, 3], list(range(7)))
    assert leaving.ended == [None]
    for course, job in ((first, jobs[0]), (late, jobs[2])):
        (result,) = course.ended
        assert furthest(result, trained(base, job)) < 1e-10


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("plan", [StepPlan(1), StepPlan(10_000), StepPlan(300, recompute=True)], ids=str)
def test_no_plan_of_a_step_changes_what_is_learned(family: str, plan: StepPlan) -> None:
    base = make_tiny(family)
    jobs = [job_of(base, CANARIES[0]), job_of(base, CANARIES[1], 9, seed=3)]
    for ours, job in zip(train_prefixes(base, jobs, SETTINGS, plan=plan), jobs, strict=True):
        assert furthest(ours, trained(base, job)) < 1e-10


@pytest.mark.parametrize("family", FAMILIES)
def test_recomputation_keeps_less_and_leaves_the_model_as_it_was(family: str) -> None:
    base = make_tiny(family)
    before = [module.training for module in base.model.modules()]
    prefix = make_prefix(base)
    leaves = [
        (k.clone().requires_grad_(), v.clone().requires_grad_())
        for k, v in zip(prefix.keys, prefix.values, strict=True)
    ]
    one = Pass(job_of(base, CANARIES[0]).split.train[:2], (0, 0))
    kept = {}
    for recompute in (False, True):
        kept[recompute] = 0

        def count(tensor: Tensor, recompute: bool = recompute) -> Tensor:
            kept[recompute] += tensor.numel()
            return tensor

        with recomputing(base, recompute), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            pass_losses(base, one, [leaves])
    assert kept[True] < 0.7 * kept[False]
    assert [module.training for module in base.model.modules()] == before


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_found_able_to_recompute(family: str) -> None:
    assert can_recompute(make_tiny(family))


def test_a_layer_with_dropout_of_its_own_is_found_unable(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = type(base.model.model.layers[0])
    plain = layer.forward

    def dropping(self: nn.Module, hidden: Tensor, *given: object, **options: object) -> Tensor:
        return plain(self, functional.dropout(hidden, 0.5, training=self.training), *given, **options)

    monkeypatch.setattr(layer, "forward", dropping)
    assert not can_recompute(base)


def test_a_training_that_runs_away_ends_with_the_best_prefix_and_leaves_the_others_alone(base: BaseModel) -> None:
    start = make_prefix(base)
    blown_up = replace(start, values=tuple(torch.full_like(values, 1e308) for values in start.values))
    away = replace(job_of(base, CANARIES[0]), start=blown_up)
    lost, sound = train_prefixes(base, [away, job_of(base, CANARIES[1])], SETTINGS)
    assert lost is not None
    assert lost.steps == 1
    assert lost.history[0].as_metrics()["best_held_out_loss"] is None
    assert furthest(sound, trained(base, job_of(base, CANARIES[1]))) < 1e-10


def test_progress_comes_every_step_with_the_losses_the_run_records(base: BaseModel) -> None:
    told: list[Progress] = []
    train_prefixes(base, [job_of(base, CANARIES[0])], SETTINGS, on_progress=lambda _, progress: told.append(progress))
    assert [progress.step for progress in told] == list(range(7))
    assert [progress.step for progress in told if progress.held_out_loss is not None] == [0, 2, 4, 6]
    assert told[5].as_metrics().keys() == {
        *("step", "max_steps", "train_loss", "held_out_loss", "base_held_out_loss", "best_held_out_loss"),
        *("seconds", "eta_seconds", "steps_left"),
    }
    assert told[5].train_loss is not None
    assert told[5].eta_seconds > 0
    assert [round(one.steps_left - told[5].steps_left) for one in told[:6]] == [5, 4, 3, 2, 1, 0]  # six at most
    assert (told[-1].eta_seconds, told[-1].steps_left) == (0, 0)


def stopping(job: int, step: int) -> Callable[[int, Progress], None]:
    def on_progress(number: int, progress: Progress) -> None:
        if (number, progress.step) == (job, step):
            raise Stopped("cancelled")

    return on_progress


def test_a_stopped_job_ends_the_training_between_two_steps(base: BaseModel) -> None:
    with pytest.raises(Stopped, match="cancelled"):
        train_prefixes(base, [job_of(base, CANARIES[0])], SETTINGS, on_progress=stopping(0, 2))


def test_a_stopped_job_leaves_the_others_as_they_were_alone(base: BaseModel) -> None:
    jobs = [job_of(base, CANARIES[0]), job_of(base, CANARIES[1])]
    gone, stayed = train_prefixes(base, jobs, SETTINGS, on_progress=stopping(0, 3))
    assert gone is None
    assert furthest(stayed, trained(base, jobs[1])) < 1e-10


def checkpoints_of(base: BaseModel, job: TrainingJob, settings: TrainingSettings = SETTINGS) -> list[bytes]:
    kept: list[bytes] = []
    train_prefixes(base, [job], settings, on_checkpoint=lambda _, data: kept.append(data))
    return kept


@pytest.mark.parametrize("parametrisation", ["direct", "residual"])
def test_resumed_training_goes_on_exactly(base: BaseModel, parametrisation: Parametrisation) -> None:
    settings = replace(SETTINGS, parametrisation=parametrisation)
    job = job_of(base, CANARIES[0])
    whole = trained(base, job, settings)
    for data in checkpoints_of(base, job, settings):
        (resumed,) = train_prefixes(base, [job], settings, resume_from=[data])
        assert resumed is not None
        assert losses(resumed) == losses(whole)
        assert furthest(resumed, whole) == 0.0
        assert (resumed.steps, resumed.best_step) == (whole.steps, whole.best_step)
        assert resumed.seconds > 0


def test_a_resumed_training_knows_the_start_it_came_from_again(base: BaseModel) -> None:
    job = replace(job_of(base, CANARIES[0]), start=make_prefix(base))
    data = checkpoints_of(base, job)[0]
    again = replace(job_of(base, CANARIES[0]), start=make_prefix(base))
    (resumed,) = train_prefixes(base, [again], SETTINGS, resume_from=[data])
    assert furthest(resumed, trained(base, job)) == 0.0


def test_a_resumed_and_a_new_job_train_together_as_alone(base: BaseModel) -> None:
    jobs = [job_of(base, CANARIES[0]), job_of(base, CANARIES[1])]
    data = checkpoints_of(base, jobs[0])[1]
    for ours, job in zip(train_prefixes(base, jobs, SETTINGS, resume_from=[data, None]), jobs, strict=True):
        assert furthest(ours, trained(base, job)) < 1e-10


def test_a_checkpoint_of_other_data_settings_seed_or_model_is_refused(base: BaseModel) -> None:
    job = job_of(base, CANARIES[0])
    data = checkpoints_of(base, job)[0]
    others: list[tuple[BaseModel, TrainingJob, TrainingSettings]] = [
        (base, job_of(base, CANARIES[1]), SETTINGS),
        (base, job, replace(SETTINGS, learning_rate=0.01)),
        (base, replace(job, seed=9), SETTINGS),
        (base, replace(job, start=make_prefix(base)), SETTINGS),
        (make_tiny("llama", seed=1), job, SETTINGS),
    ]
    for other_base, other_job, settings in others:
        with pytest.raises(InvalidCheckpoint, match="other samples"):
            train_prefixes(other_base, [other_job], settings, resume_from=[data])


def test_a_checkpoint_of_a_training_that_goes_on_is_of_what_its_version_knew(base: BaseModel) -> None:
    split = job_of(base, CANARIES[0]).split
    jobs = [
        TrainingJob(replace(split, known=split.train[:known]), start=make_prefix(base), goes_on=True)
        for known in (0, 6)
    ]
    settings = replace(SETTINGS, min_steps=40, max_steps=40, tokens_per_step=100)
    data = checkpoints_of(base, jobs[1], settings)[1]
    (resumed,) = train_prefixes(base, [jobs[1]], settings, resume_from=[data])
    assert furthest(resumed, trained(base, jobs[1], settings)) == 0.0
    with pytest.raises(InvalidCheckpoint, match="other samples"):
        train_prefixes(base, [jobs[0]], settings, resume_from=[data])


def test_a_checkpoint_is_written_at_every_look_but_the_first_and_the_last(base: BaseModel) -> None:
    assert len(checkpoints_of(base, job_of(base, CANARIES[0]))) == 2


def test_one_short_piece_trains(base: BaseModel) -> None:
    split = build_split(base, [WrittenText(plain(110))], num_virtual_tokens=4)
    assert trained(base, TrainingJob(split)).steps > 0


def test_two_people_in_one_batch_each_meet_only_their_own_words(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What enters the model beside a person's prefix is that person's text: found in the real calls to the scorer."""
    jobs = [job_of(base, canary) for canary in CANARIES]
    met: dict[int, set[str]] = {}

    def watched(base: BaseModel, blocks: Sequence[Block], prefixes: list[tuple[Tensor, Tensor]] | None) -> Tensor:
        rows = [hash(row.detach().numpy().tobytes()) for row in prefixes[0][0]] if prefixes else []
        for row, block in zip(rows, blocks, strict=False):
            met.setdefault(row, set()).update(c for c in CANARIES if c in base.decode(block.token_ids))
        return row_losses(base, blocks, prefixes)

    for where in ("tuning.scoring", "tuning.training_step"):
        monkeypatch.setattr(f"{where}.row_losses", watched)
    train_prefixes(base, jobs, SETTINGS)
    assert met
    assert all(len(words) == 1 for words in met.values())
    assert set.union(*met.values()) == set(CANARIES)


def test_the_steps_a_training_announces_are_those_its_text_gets(base: BaseModel) -> None:
    settings = replace(SETTINGS, max_steps=300, min_steps=3, epochs=2)
    job = job_of(base, CANARIES[0])
    result = trained(base, job, settings)
    assert result.steps == settings.steps_for(num_tokens(job.split.train)) == result.history[-1].max_steps
    assert 3 <= result.steps < 30
