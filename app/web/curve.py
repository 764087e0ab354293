"""The held-out loss of a run as a curve: from metric events to points in a 100 by 100 box. Knows no HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BOX = 100.0
MARGIN = 8.0  # of the box, above the highest and below the lowest point


@dataclass(frozen=True)
class Curve:
    """Points ready for an SVG polyline, y downwards, and the figures its caption names (bits per character)."""

    points: str
    base_y: float
    base_loss: float
    last_loss: float
    best_loss: float
    best_x: float
    best_y: float
    best_step: int
    steps: int


def draw(metrics: Sequence[dict[str, Any]], max_steps: int) -> Curve | None:
    """The curve of the metric events given in order; None while there are fewer than one held-out measurement.

    `max_steps` is the right edge while the run lives; pass the last step to use the whole width at its end.
    """
    measured = [m for m in metrics if m.get("held_out_loss") is not None and m.get("base_held_out_loss") is not None]
    if not measured:
        return None
    losses = [float(m["held_out_loss"]) for m in measured]
    base = float(measured[-1]["base_held_out_loss"])
    right = max(max_steps, int(measured[-1]["step"]), 1)
    low, high = min(*losses, base), max(*losses, base)
    best = losses.index(min(losses))
    spots = [(_x(int(m["step"]), right), _y(loss, low, high)) for m, loss in zip(measured, losses, strict=True)]
    return Curve(
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in spots),
        base_y=round(_y(base, low, high), 1),
        base_loss=base,
        last_loss=losses[-1],
        best_loss=losses[best],
        best_x=round(spots[best][0], 1),
        best_y=round(spots[best][1], 1),
        best_step=int(measured[best]["step"]),
        steps=int(measured[-1]["step"]),
    )


def _x(step: int, right: int) -> float:
    return BOX * step / right


def _y(loss: float, low: float, high: float) -> float:
    spread = (high - low) or 1.0
    return MARGIN + (BOX - 2 * MARGIN) * (high - loss) / spread
