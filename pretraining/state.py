"""What a training has come to: model, optimizers, tokens seen, steps; and its files. Knows no data and no schedule.

A checkpoint folder: state.pt ({"model", "optimizers", "seen", "steps"}, what a training goes on from), stable.pt (the
same from before the decay: moved over state.pt, it can be trained longer), training.json (the last stop's figures).
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedModel

from pretraining.attention import use_in_training
from pretraining.errors import CheckpointUnusable
from pretraining.schedule import make_optimizers
from pretraining.shape import Shape, build

STATE, STABLE, FIGURES = "state.pt", "stable.pt", "training.json"
_DAMAGED = (OSError, RuntimeError, ValueError, KeyError)


@dataclass(eq=False)
class TrainingState:
    """A model in float32 with its optimizers, and how far they are."""

    model: PreTrainedModel
    optimizers: list[torch.optim.Optimizer]
    seen: int = 0
    steps: int = 0

    @classmethod
    def new(cls, shape: Shape, device: str, seed: int = 0) -> "TrainingState":
        """Random weights, the same for the same seed."""
        torch.manual_seed(seed)
        model = build(shape).to(device)
        use_in_training(model)
        return cls(model, make_optimizers(model))

    def save(self, folder: Path) -> None:
        """Written aside and moved into place: a stop in the middle leaves the old one whole."""
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f"{STATE}.part"
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        whole = {"model": self.model.state_dict(), "optimizers": optimizers, "seen": self.seen, "steps": self.steps}
        torch.save(whole, aside)
        os.replace(aside, folder / STATE)

    def save_stable(self, folder: Path) -> None:
        """Save, and keep a copy that later saves leave alone."""
        self.save(folder)
        shutil.copy(folder / STATE, folder / STABLE)

    def restore(self, folder: Path) -> bool:
        """Go on from the folder's state, if it has one. Raises CheckpointUnusable."""
        if not (folder / STATE).exists():
            return False
        try:
            saved = _read(folder / STATE, str(self.model.device))
            self.model.load_state_dict(saved["model"])
            for optimizer, own in zip(self.optimizers, saved["optimizers"], strict=True):
                optimizer.load_state_dict(own)
            self.seen, self.steps = int(saved["seen"]), int(saved["steps"])
        except _DAMAGED as wrong:
            raise _unusable(folder / STATE, wrong) from wrong
        return True

    def take_weights(self, source: Path) -> None:
        """The weights alone, from a checkpoint folder or a folder of an exported model. Raises CheckpointUnusable."""
        try:
            if (source / STATE).exists():
                weights = _read(source / STATE, str(self.model.device))["model"]
            else:
                weights = LlamaForCausalLM.from_pretrained(source, dtype=torch.float32).state_dict()
            self.model.load_state_dict(weights)
        except _DAMAGED as wrong:
            raise _unusable(source, wrong) from wrong


def read_figures(folder: Path) -> dict[str, Any]:
    """What training.json of a checkpoint or of an exported model says; of a state without one, how far it is."""
    if (folder / FIGURES).exists():
        figures: dict[str, Any] = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        return figures
    if (folder / STATE).exists():
        saved = _read(folder / STATE, "cpu")
        return {"tokens_seen": int(saved["seen"]), "steps": int(saved["steps"])}
    return {}


def write_figures(folder: Path, figures: dict[str, Any]) -> None:
    """Beside the state, or beside the exported weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FIGURES).write_text(json.dumps(figures), encoding="utf-8")


def _read(path: Path, device: str) -> dict[str, Any]:
    try:
        saved: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as wrong:  # a damaged file ends in whatever its bytes look like
        raise _unusable(path, wrong) from wrong
    return saved


def _unusable(path: Path, wrong: Exception) -> CheckpointUnusable:
    reason = (str(wrong).strip() or type(wrong).__name__).splitlines()[0]
    return CheckpointUnusable(f"{path} does not fit or is damaged ({reason}): check --shape, or give another folder.")
