"""The first stage: a model from nothing on plain text. Owns how text is drawn and what is reported; the loop is
pretraining.training's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretraining.errors import CheckpointUnusable
from pretraining.loss import held_out_nats, loss_of
from pretraining.schedule import Schedule
from pretraining.shape import Shape
from pretraining.state import STATE, TrainingState, read_figures, write_figures
from pretraining.stopping import Stop
from pretraining.tokens import Ids, Tokens
from pretraining.training import Draw, Training


@dataclass(frozen=True)
class FirstStage:
    """init: a checkpoint or an exported model of the same shape to go on from, weights and counts but not the
    optimizers' state. personal_share: of the text drawn while the rate falls, that of people's own writing, since what
    is seen last shapes the model most. compiled: torch.compile the step; tests and short runs do without."""

    shape: Shape
    tokens: Path
    checkpoint: Path
    schedule: Schedule
    init: Path | None = None
    personal_share: float = 0.75
    compiled: bool = True

    def run(self, stop: Stop) -> dict[str, Any]:
        """Train as far as budget and stop let it, and return the figures, which are also beside the state."""
        device = device_here()
        tokens = Tokens.open(self.tokens, self.shape.length)
        state = self._state(device)
        loss = loss_of(state.model)
        training = Training(state, self.schedule, torch.compile(loss) if self.compiled else loss, self.checkpoint)
        training.run(self._rows(tokens, state, device), stop)
        figures = self._figures(state, tokens)
        write_figures(self.checkpoint, figures)
        return figures

    def _state(self, device: str) -> TrainingState:
        state = TrainingState.new(self.shape, device)
        if self.init is not None:
            if (self.checkpoint / STATE).exists():
                raise CheckpointUnusable(f"{self.checkpoint / STATE} exists: give --init an empty --checkpoint folder.")
            state.take_weights(self.init)
            made = read_figures(self.init)
            state.seen, state.steps = int(made.get("tokens_seen", 0)), int(made.get("steps", 0))
        state.restore(self.checkpoint)
        return state

    def _rows(self, tokens: Tokens, state: TrainingState, device: str) -> Draw:
        rows, length, seen = self.shape.rows, self.shape.length, state.seen
        of_all = plain_rows(tokens.train, rows, length, seen, device)
        personal = round(rows * self.personal_share)
        if not personal:
            return of_all
        of_persons = plain_rows(tokens.personal, personal, length, seen, device)

        def draw() -> tuple[Tensor, Tensor]:
            inputs, targets = of_all()
            if self.schedule.decays(state.seen, state.steps):
                inputs[:personal], targets[:personal] = of_persons()
            return inputs, targets

        return draw

    def _figures(self, state: TrainingState, tokens: Tokens) -> dict[str, Any]:
        bits = held_out_nats(state.model, tokens.held_out, self.shape.length) * tokens.bits_per_nat
        return {
            "tokens_seen": state.seen,
            "steps": state.steps,
            "budget": int(self.schedule.budget),
            "parameters": sum(parameter.numel() for parameter in state.model.parameters()),
            "personal_share_of_decay": self.personal_share,
            "held_out_bits_per_byte": round(bits, 4),
            "finished": state.seen >= self.schedule.budget,
        }


def plain_rows(train: Ids, rows: int, length: int, seed: int, device: str) -> Draw:
    """Stretches from anywhere in the text. The seed is the number of tokens seen: a training that goes on draws
    otherwise than it did at its beginning."""
    drawn = np.random.default_rng(seed)

    def draw() -> tuple[Tensor, Tensor]:
        starts = drawn.integers(0, len(train) - length - 1, rows)
        stretches = np.stack([train[start : start + length + 1] for start in starts]).astype(np.int64)
        batch = torch.from_numpy(stretches).to(device)
        return batch[:, :-1].contiguous(), batch[:, 1:].contiguous()

    return draw


def device_here() -> str:
    """The accelerator where there is one."""
    torch.set_float32_matmul_precision("high")
    return "cuda" if torch.cuda.is_available() else "cpu"
