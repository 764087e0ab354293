"""Both stages on a tiny shape: what is learned, what is kept, what a stop leaves, and what comes back from it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AttentionInterface

from pretraining import training
from pretraining.answers import Answers, derive, write_answers
from pretraining.attention import FUSED, NAME, causal_fused, causal_in_stretches, use_in_training
from pretraining.corpus import documents_in
from pretraining.errors import CheckpointUnusable
from pretraining.first_stage import FirstStage, plain_rows
from pretraining.loss import NOT_SCORED, held_out_nats, loss_of
from pretraining.muon import StackedMuon
from pretraining.schedule import ADAMW_RATE, MUON_RATE, Schedule, make_optimizers
from pretraining.second_stage import BEFORE, SecondStage, answer_bits
from pretraining.shape import SHAPES, build
from pretraining.state import STABLE, STATE, TrainingState, read_figures
from pretraining.stopping import Stop
from pretraining.tokens import Tokens
from pretraining.training import Training
from tests.pretraining.conftest import SHAPE
from tests.source_tree import ROOT

STEP = SHAPE.rows * SHAPE.length  # tokens


def first_stage(tokens: Path, folder: Path, steps: int, **others: object) -> FirstStage:
    return FirstStage(SHAPE, tokens, folder, Schedule(steps * STEP), compiled=False, **others)  # type: ignore[arg-type]


def weights(folder: Path, name: str = STATE) -> dict[str, torch.Tensor]:
    saved: dict[str, torch.Tensor] = torch.load(folder / name, weights_only=True)["model"]
    return saved


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(value.equal(other[name]) for name, value in one.items())


def asked_at(step: int) -> Callable[[Stop], None]:
    """A wrapper of draws that sends SIGTERM as the given step is drawn."""
    drawn = plain_rows

    def wrapped(*arguments: object) -> training.Draw:
        draw, calls = drawn(*arguments), []  # type: ignore[arg-type,var-annotated]

        def once() -> tuple[torch.Tensor, torch.Tensor]:
            calls.append(1)
            if len(calls) == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return draw()

        return once

    return wrapped  # type: ignore[return-value]


def test_shapes_have_room_for_a_prefix_beside_the_trained_context() -> None:
    assert (SHAPES["cpu"].length, SHAPES["cpu"].positions) == (512, 640)
    assert (SHAPES["gpu"].length, SHAPES["gpu"].positions) == (1024, 1152)
    sizes = {name: sum(one.numel() for one in build(shape).parameters()) for name, shape in SHAPES.items()}
    assert sizes == {"cpu": 8_425_728, "gpu": 22_029_696}


def test_the_rate_warms_up_stays_and_falls() -> None:
    schedule = Schedule(1000, decay=0.2, peak=0.5)
    assert schedule.share(0, 0) == 0.01
    assert schedule.share(500, 150) == 1
    assert schedule.share(900, 200) == pytest.approx(0.5)
    assert schedule.share(1000, 250) == 0.02
    assert [schedule.decays(seen, steps) for seen, steps in ((0, 0), (500, 150), (900, 200))] == [False, False, True]
    optimizers = make_optimizers(build(SHAPE))
    schedule.apply(optimizers, 500, 150)
    assert [optimizer.param_groups[0]["lr"] for optimizer in optimizers] == [MUON_RATE / 2, ADAMW_RATE / 2]


def test_every_weight_has_one_optimizer_and_matrices_of_layers_have_muon() -> None:
    model = build(SHAPE)
    muon, adamw = make_optimizers(model)
    ids = [{id(weight) for weight in optimizer.param_groups[0]["params"]} for optimizer in (muon, adamw)]
    assert not ids[0] & ids[1]
    assert ids[0] | ids[1] == {id(weight) for weight in model.parameters()}
    assert id(model.get_input_embeddings().weight) in ids[1]
    assert id(model.model.layers[0].mlp.up_proj.weight) in ids[0]


@pytest.mark.parametrize(("name", "attention"), [(NAME, causal_in_stretches), (FUSED, causal_fused)])
def test_attention_in_training_is_the_model_s_own(name: str, attention: Callable[..., object]) -> None:
    torch.manual_seed(0)
    own, plain = build(SHAPE), build(SHAPE)
    own.load_state_dict(plain.state_dict())
    AttentionInterface.register(name, attention)
    own.set_attn_implementation(name)
    ids = torch.randint(0, SHAPE.vocabulary, (3, 47))  # not a multiple of the stretches, and keys shared by heads
    for model in (own, plain):
        model.double()(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    for (weight, mine), theirs in zip(own.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-7, msg=weight)


def test_a_training_on_a_processor_attends_in_stretches() -> None:
    assert TrainingState.new(SHAPE, "cpu").model.config._attn_implementation == NAME


def test_stacked_muon_is_muon() -> None:
    shapes = [(24, 16), (16, 24), (24, 16), (16, 16), (24, 16)]
    made = [torch.randn(shape) for shape in shapes]
    kinds = (torch.optim.Muon, StackedMuon)
    weights = [[torch.nn.Parameter(one.clone()) for one in made] for _ in kinds]
    optimizers = [kind(own, lr=0.05, weight_decay=0.1) for kind, own in zip(kinds, weights, strict=True)]
    for _ in range(3):
        gradients = [torch.randn(shape) for shape in shapes]
        gradients[3] = gradients[3] * 1e-3  # each is scaled by itself
        for own, optimizer in zip(weights, optimizers, strict=True):
            for weight, gradient in zip(own, gradients, strict=True):
                weight.grad = gradient.clone()
            optimizer.step()  # type: ignore[no-untyped-call]
    theirs, ours = (optimizer.state_dict() for optimizer in optimizers)
    assert theirs["state"].keys() == ours["state"].keys()
    for number, (one, other) in enumerate(zip(*weights, strict=True)):
        moved = (one - made[number]).norm()
        assert float(((one - other).norm() / moved).detach()) < 0.03  # the products are in bfloat16
        torch.testing.assert_close(theirs["state"][number], ours["state"][number])
    for number, optimizer in enumerate(optimizers):  # a checkpoint goes from one to the other
        optimizer.load_state_dict([ours, theirs][number])
        torch.testing.assert_close(optimizer.state_dict()["state"], [ours, theirs][number]["state"])


def test_an_accelerator_gets_its_own_attention_and_muon() -> None:
    elsewhere = build(SHAPE).to("meta")
    use_in_training(elsewhere)
    assert elsewhere.config._attn_implementation == FUSED
    assert isinstance(make_optimizers(elsewhere)[0], StackedMuon)
    assert type(make_optimizers(build(SHAPE))[0]) is torch.optim.Muon


def test_a_first_stage_learns_and_says_so(tokens: Path, tmp_path: Path) -> None:
    untrained = first_stage(tokens, tmp_path / "none", 130).run(Stop(minutes=0))
    figures = first_stage(tokens, tmp_path / "one", 130).run(Stop())
    assert figures["held_out_bits_per_byte"] < 0.7 * untrained["held_out_bits_per_byte"]
    assert (figures["tokens_seen"], figures["steps"], figures["finished"]) == (130 * STEP, 130, True)
    assert figures == json.loads((tmp_path / "one" / "training.json").read_text())
    saved = torch.load(tmp_path / "one" / STATE, weights_only=True)
    assert saved.keys() == {"model", "optimizers", "seen", "steps"}
    assert (saved["seen"], saved["steps"]) == (130 * STEP, 130)


def test_the_state_before_the_decay_is_kept_and_can_be_trained_longer(tokens: Path, tmp_path: Path) -> None:
    first_stage(tokens, tmp_path, 160).run(Stop())
    stable = torch.load(tmp_path / STABLE, weights_only=True)
    assert stable["steps"] == 113, "the first step at which 30 % of the budget is not left"
    os.replace(tmp_path / STABLE, tmp_path / STATE)
    assert first_stage(tokens, tmp_path, 170).run(Stop())["steps"] == 170


def test_while_the_rate_falls_a_share_of_the_text_is_people_s_own(tokens: Path, tmp_path: Path) -> None:
    """The loss sees rows of the personal part alone from the first step of the decay on, and none picked out before."""
    stage = first_stage(tokens, tmp_path, 200, personal_share=0.5)
    opened = Tokens.open(tokens, SHAPE.length)
    own = " ".join(map(str, opened.personal.tolist()))
    state = TrainingState.new(SHAPE, "cpu")
    draw = stage._rows(opened, state, "cpu")

    def personal() -> list[bool]:
        inputs, targets = draw()
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        return [" ".join(map(str, row.tolist())) in own for row in inputs]

    before = [personal() for _ in range(20)]
    state.seen, state.steps = 190 * STEP, 190
    after = [personal() for _ in range(20)]
    assert not all(rows[0] and rows[1] for rows in before)
    assert all(rows[0] and rows[1] for rows in after)
    assert not all(rows[2] and rows[3] for rows in after)


def test_sigterm_ends_between_two_steps_and_the_same_command_goes_on(
    tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("pretraining.first_stage.plain_rows", asked_at(4))
    with Stop() as stop:
        figures = first_stage(tokens, tmp_path, 9).run(stop)
    assert signal.getsignal(signal.SIGTERM) == before
    assert (figures["steps"], figures["finished"]) == (4, False)
    monkeypatch.undo()
    assert first_stage(tokens, tmp_path, 9).run(Stop())["finished"]


def test_a_training_that_was_stopped_equals_one_that_was_not(tokens: Path, tmp_path: Path) -> None:
    """But for the order of the text, which is drawn anew from the number of tokens seen: here it is given."""
    rows = Tokens.open(tokens, SHAPE.length).train

    def go_on(state: TrainingState, folder: Path, number: int) -> None:
        learning = Training(state, Schedule(9 * STEP), loss_of(state.model), folder)
        draw, stop, left = plain_rows(rows, SHAPE.rows, SHAPE.length, state.seen, "cpu"), Stop(), [number]

        def counted() -> tuple[torch.Tensor, torch.Tensor]:
            left[0] -= 1
            if not left[0]:
                stop.ask()
            return draw()

        learning.run(counted, stop)

    whole = TrainingState.new(SHAPE, "cpu")
    go_on(whole, tmp_path / "whole", 4)
    go_on(whole, tmp_path / "whole", 5)
    go_on(TrainingState.new(SHAPE, "cpu"), tmp_path / "parts", 4)
    resumed = TrainingState.new(SHAPE, "cpu", seed=1)
    assert resumed.restore(tmp_path / "parts")
    go_on(resumed, tmp_path / "parts", 5)
    assert resumed.seen == whole.seen == 9 * STEP
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_weights_alone_are_taken_from_another_checkpoint_with_its_counts(tokens: Path, tmp_path: Path) -> None:
    first_stage(tokens, tmp_path / "one", 3).run(Stop())
    further = first_stage(tokens, tmp_path / "two", 3, init=tmp_path / "one")
    assert further.run(Stop())["steps"] == 3
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))
    with pytest.raises(CheckpointUnusable, match="empty --checkpoint"):
        further.run(Stop())


@pytest.mark.parametrize("damaged", [b"", b"no state", b"PK\x03\x04 cut"])
def test_a_damaged_state_is_named(tokens: Path, tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / STATE).write_bytes(damaged)
    with pytest.raises(CheckpointUnusable, match=STATE):
        first_stage(tokens, tmp_path, 3).run(Stop())


def test_a_state_of_another_shape_is_refused(tokens: Path, tmp_path: Path) -> None:
    first_stage(tokens, tmp_path, 1).run(Stop())
    with pytest.raises(CheckpointUnusable, match="--shape"):
        TrainingState.new(SHAPES["cpu"], "cpu").restore(tmp_path)


def test_minutes_end_a_training(tokens: Path, tmp_path: Path) -> None:
    assert first_stage(tokens, tmp_path, 3).run(Stop(minutes=0))["steps"] == 0


def test_held_out_bits_are_those_of_a_plain_computation(tokens: Path) -> None:
    held_out, model = Tokens.open(tokens, SHAPE.length).held_out, TrainingState.new(SHAPE, "cpu").model
    ids = torch.from_numpy(held_out[: SHAPE.length + 1].astype(np.int64))[None]
    with torch.no_grad():
        expected = model(input_ids=ids, labels=ids).loss.item()
    assert held_out_nats(model, held_out[: SHAPE.length + 2], SHAPE.length) == pytest.approx(expected, rel=1e-3)


@pytest.fixture
def requests(corpus: Path, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    write_answers(documents_in(corpus), tokenizer, tmp_path / "requests", 400, most=400, per_document=3, seed=0)
    return tmp_path / "requests"


def second_stage(tokens: Path, requests: Path, folder: Path, steps: int) -> SecondStage:
    schedule = Schedule(steps * STEP, decay=1.0, peak=0.3)
    return SecondStage(SHAPE, folder / "first", tokens, requests, folder / "second", schedule, compiled=False)


def test_a_second_stage_learns_to_answer_and_tells_before_from_after(
    tokens: Path, requests: Path, tmp_path: Path
) -> None:
    first = first_stage(tokens, tmp_path / "first", 60).run(Stop())
    untouched = weights(tmp_path / "first")
    figures = second_stage(tokens, requests, tmp_path, 40).run(Stop())
    assert first.items() <= figures.items()
    told = figures["requests"]
    assert told["answer_bits_per_byte"]["after"] < told["answer_bits_per_byte"]["before"]
    assert told["plain_bits_per_byte"]["before"] == first["held_out_bits_per_byte"]
    assert (told["steps"], told["finished"], told["plain_share"]) == (40, True, 0.4)
    assert same(weights(tmp_path / "first"), untouched)
    assert read_figures(tmp_path / "second") == figures


def test_a_second_stage_on_another_one_keeps_what_that_came_to(tokens: Path, requests: Path, tmp_path: Path) -> None:
    first_stage(tokens, tmp_path / "first", 5).run(Stop())
    earlier = second_stage(tokens, requests, tmp_path, 4).run(Stop())["requests"]
    again = SecondStage(
        SHAPE, tmp_path / "second", tokens, requests, tmp_path / "third", Schedule(3 * STEP, decay=1.0), compiled=False
    )
    told = again.run(Stop())["requests"]
    assert (told["steps"], told["earlier"]) == (3, earlier)
    assert told["plain_bits_per_byte"]["before"] == earlier["plain_bits_per_byte"]["after"]


def test_a_second_stage_is_not_its_own_beginning(tokens: Path, requests: Path, tmp_path: Path) -> None:
    first_stage(tokens, tmp_path / "first", 2).run(Stop())
    schedule = Schedule(STEP, decay=1.0)
    itself = SecondStage(SHAPE, tmp_path / "first", tokens, requests, tmp_path / "first", schedule, compiled=False)
    with pytest.raises(CheckpointUnusable, match="give another --checkpoint"):
        itself.run(Stop())


def test_a_second_stage_goes_on_with_what_it_measured_before(
    tokens: Path, requests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_stage(tokens, tmp_path / "first", 5).run(Stop())
    monkeypatch.setattr("pretraining.second_stage.plain_rows", asked_at(3))
    with Stop() as stop:
        stopped = second_stage(tokens, requests, tmp_path, 6).run(stop)["requests"]
    monkeypatch.undo()
    done = second_stage(tokens, requests, tmp_path, 6).run(Stop())["requests"]
    assert (stopped["steps"], done["steps"], done["finished"]) == (3, 6, True)
    assert stopped["answer_bits_per_byte"]["before"] == done["answer_bits_per_byte"]["before"]
    (tmp_path / "second" / BEFORE).unlink()
    with pytest.raises(CheckpointUnusable, match="no state of this stage"):
        second_stage(tokens, requests, tmp_path, 6).run(Stop())


def test_bits_of_answers_are_those_of_their_own_tokens_alone(corpus: Path, tokenizer: Tokenizer) -> None:
    model = TrainingState.new(SHAPE, "cpu").model
    answers = Answers.of(derive(documents_in(corpus), 40, 2, seed=0)[:3], tokenizer, 400)
    bits = 0.0
    for ids, scored in answers.each():
        row = torch.from_numpy(ids.astype(np.int64))
        with torch.no_grad():
            of_next = model(input_ids=row[None]).logits[0, :-1].log_softmax(-1)
        counted = [place for place in range(1, len(ids)) if scored[place] and ids[place] != 0]
        bits -= sum(float(of_next[place - 1, row[place]]) for place in counted) / np.log(2)
    assert answer_bits(model, answers) == pytest.approx(bits / answers.answer_bytes.sum(), rel=2e-3)


def test_nothing_is_learned_from_what_is_not_scored() -> None:
    model = TrainingState.new(SHAPE, "cpu").model
    inputs = torch.randint(5, SHAPE.vocabulary, (2, 8))
    targets = torch.full((2, 8), NOT_SCORED)
    targets[:, :4] = 7
    loss_of(model)(inputs, targets).backward()  # type: ignore[no-untyped-call]
    gradient = model.model.embed_tokens.weight.grad
    model.zero_grad()
    inputs[:, 4:] = 6
    loss_of(model)(inputs, targets).backward()  # type: ignore[no-untyped-call]
    assert torch.equal(gradient, model.model.embed_tokens.weight.grad)


def test_the_command_line_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pretraining", "train", "--eager"]
    asked = [*command, "--tokens", str(tmp_path), "--checkpoint", str(tmp_path / "state")]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"pretraining: {tmp_path} is not a folder of tokens")
