"""A trained model as a folder that loads by itself: weights, configuration, tokenizer, figures. Knows no data and no
training."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from pretraining.errors import ModelUnusable
from pretraining.shape import Shape
from pretraining.state import TrainingState, read_figures, write_figures
from pretraining.tokenizer import dressed

WEIGHTS = "model.safetensors"
MOST_BYTES = 50_000_000  # larger files are not taken by every host of repositories
REQUESTS = "requests"  # the part of the figures that a second stage adds
EARLIER = "earlier"  # within it, the same of the second stage before, where there were several
_READABLE = 0o644  # the weights' writer makes its file for its owner alone; another user serves them


def export(checkpoint: Path, tokenizer: Tokenizer, shape: Shape, out: Path) -> dict[str, Any]:
    """Write one model.safetensors in bfloat16, the configuration with the context that was trained, the tokenizer, with
    a chat template if the model has learned to answer, and training.json; returns what that says.

    Written aside and moved into place, of an older export too, but never of a folder that holds anything else. Raises
    CheckpointUnusable, ModelUnusable.
    """
    state = TrainingState.new(shape, "cpu")
    state.take_weights(checkpoint)
    counted = {"parameters": sum(parameter.numel() for parameter in state.model.parameters())}
    figures = counted | read_figures(checkpoint) | {"context": shape.length}
    aside = out.with_name(f"{out.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    state.model.to(torch.bfloat16).save_pretrained(aside, max_shard_size="1TB")
    dressed(tokenizer, shape.positions, chat=REQUESTS in figures).save_pretrained(aside)
    write_figures(aside, figures)
    _check(aside / WEIGHTS)
    _spare(out, aside)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(aside, out)
    return figures


def _check(weights: Path) -> None:
    size = weights.stat().st_size
    if size > MOST_BYTES:
        raise ModelUnusable(
            f"{weights} has {size / 1e6:.0f} MB, more than {MOST_BYTES / 1e6:.0f}: take a smaller shape."
        )
    weights.chmod(_READABLE)


def _spare(out: Path, aside: Path) -> None:
    """A card or a population prefix beside older weights is somebody's work."""
    foreign = {path.name for path in out.glob("*")} - {path.name for path in aside.iterdir()}
    if foreign:
        raise ModelUnusable(f"{out} also holds {', '.join(sorted(foreign))}: give --out a new folder and move it over.")
