"""The second stage: a trained model learns to answer requests. The loss is on the answers alone; some rows of every
step are plain text, so that what was learned before is not forgotten. Owns that mixture and what is reported."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from pretraining.answers import Answers
from pretraining.errors import CheckpointUnusable, CorpusUnusable
from pretraining.export import EARLIER, REQUESTS
from pretraining.first_stage import device_here, plain_rows
from pretraining.loss import NOT_SCORED, held_out_nats, loss_of
from pretraining.schedule import Schedule
from pretraining.shape import Shape
from pretraining.state import STATE, TrainingState, read_figures, write_figures
from pretraining.stopping import Stop
from pretraining.tokenizer import START_ID
from pretraining.tokens import Tokens
from pretraining.training import Draw, Training

BEFORE = "before.json"  # of a checkpoint folder: what the model was before its first step here
_MOST_JUDGED = 256  # held-out conversations


@dataclass(frozen=True)
class SecondStage:
    """first: the checkpoint or exported model to begin with. plain_share: of a step's rows, those of plain text.
    schedule: its own budget, its peak far below the first stage's, and a decay over all of it."""

    shape: Shape
    first: Path
    tokens: Path
    answers: Path
    checkpoint: Path
    schedule: Schedule
    plain_share: float = 0.4
    compiled: bool = True

    def run(self, stop: Stop) -> dict[str, Any]:
        """Train as far as budget and stop let it, and return the figures: those of the first stage, and under
        "requests" held-out bits per byte before and after; of a model that had gone through a second stage before, what
        that came to stands there under "earlier"."""
        if self.first.resolve() == self.checkpoint.resolve():
            raise CheckpointUnusable(f"{self.first} can't be both --first and --checkpoint: give another --checkpoint.")
        device = device_here()
        tokens = Tokens.open(self.tokens, self.shape.length)
        state = TrainingState.new(self.shape, device)
        goes_on = state.restore(self.checkpoint)
        if not goes_on:
            state.take_weights(self.first)
        before = self._before(state, tokens, goes_on=goes_on)
        loss = loss_of(state.model)
        loss = torch.compile(loss) if self.compiled else loss
        Training(state, self.schedule, loss, self.checkpoint, keep_stable=False).run(
            self._rows(tokens, state.seen, device), stop
        )
        figures = read_figures(self.first)
        earlier = {EARLIER: figures[REQUESTS]} if REQUESTS in figures else {}
        figures[REQUESTS] = self._figures(state, before, self._judge(state.model, tokens)) | earlier
        write_figures(self.checkpoint, figures)
        return figures

    def _before(self, state: TrainingState, tokens: Tokens, *, goes_on: bool) -> dict[str, float]:
        path = self.checkpoint / BEFORE
        if not goes_on:
            self.checkpoint.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self._judge(state.model, tokens)), encoding="utf-8")
        elif not path.exists():
            raise CheckpointUnusable(
                f"{self.checkpoint / STATE} is no state of this stage, {BEFORE} is not beside it: give --checkpoint an "
                f"empty folder, and the first stage's in --first."
            )
        before: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        return before

    def _judge(self, model: PreTrainedModel, tokens: Tokens) -> dict[str, float]:
        plain = held_out_nats(model, tokens.held_out, self.shape.length) * tokens.bits_per_nat
        answers = answer_bits(model, Answers.open(self.answers / "val.npz"))
        return {"plain": round(plain, 4), "answers": round(answers, 4)}

    def _figures(self, state: TrainingState, before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
        return {
            "tokens_seen": state.seen,
            "steps": state.steps,
            "budget": int(self.schedule.budget),
            "plain_share": self.plain_share,
            "plain_bits_per_byte": {"before": before["plain"], "after": after["plain"]},
            "answer_bits_per_byte": {"before": before["answers"], "after": after["answers"]},
            "finished": state.seen >= self.schedule.budget,
        }

    def _rows(self, tokens: Tokens, seen: int, device: str) -> Draw:
        rows, length = self.shape.rows, self.shape.length
        plain = min(rows - 1, max(1, round(rows * self.plain_share)))  # some of each
        of_text = plain_rows(tokens.train, plain, length, seen, device)
        of_answers = answer_rows(Answers.open(self.answers / "train.npz"), rows - plain, length, seen, device)

        def draw() -> tuple[Tensor, Tensor]:
            (inputs, targets), (asked, answered) = of_text(), of_answers()
            return torch.cat([inputs, asked]), torch.cat([targets, answered])

        return draw


def answer_rows(answers: Answers, rows: int, length: int, seed: int, device: str) -> Draw:
    """Rows that begin where a conversation begins, with others behind it up to the row's end. Raises CorpusUnusable."""
    starts = answers.starts[answers.starts < len(answers.ids) - length]
    if len(starts) == 0:
        raise CorpusUnusable(f"{len(answers.ids)} tokens of requests are too few for rows of {length}.")
    drawn = np.random.default_rng(seed)

    def draw() -> tuple[Tensor, Tensor]:
        places = drawn.choice(starts, rows)[:, None] + np.arange(length + 1)  # [rows, length + 1]
        ids = answers.ids[places].astype(np.int64)
        targets = np.where(answers.scored[places], ids, NOT_SCORED)[:, 1:]
        return torch.from_numpy(ids[:, :-1].copy()).to(device), torch.from_numpy(targets.copy()).to(device)

    return draw


def answer_bits(model: PreTrainedModel, answers: Answers) -> float:
    """Bits per byte of held-out answers, each under its own request alone; the token that ends an answer is not
    counted."""
    loss, nats, judged = loss_of(model), 0.0, 0
    with torch.no_grad():
        for ids, scored in list(answers.each())[:_MOST_JUDGED]:
            row = torch.from_numpy(ids.astype(np.int64)).to(model.device)[None]
            text = torch.from_numpy(scored & (ids != START_ID)).to(model.device)[None]
            targets = torch.where(text, row, NOT_SCORED)[:, 1:]
            nats += float(loss(row[:, :-1], targets)) * int(text.sum())
            judged += 1
    return nats / math.log(2) / int(answers.answer_bytes[:judged].sum())
