"""The values that go into and come out of a training: settings, job, progress, result. No behaviour, no model."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from tuning.config import TuningConfig
from tuning.dataset import Split, num_tokens
from tuning.prefix import Prefix
from tuning.prefix_encoder import Parametrisation

_FINAL_SHARE = 0.1  # of the learning rate, at the last step
_FEWER_STEPS_GOING_ON = 3  # times
_LEAST_STEPS_GOING_ON = 12
_LEAST_KNOWN_SHARE = 1 / 3  # of the text to be trained on
_WARMUP_STEPS_GOING_ON = 1
_RATE_GOING_ON = 1.5  # times


@dataclass(frozen=True)
class TrainingSettings:
    """How prefixes are trained. The defaults are the measured winner of docs/likeness.md; nobody sets them by hand.

    initialisation: "text" starts from the keys and values of tokens of the person's own newest training text, "random"
        from noise of the same spread; a job's own start prefix comes before either.
    tokens_per_step: tokens of one person in one step, about; one epoch at most. Those that are only read (a request,
        the end of the block before) fill a step too.
    learning_rate: of AdamW, in units of the spread of the model's own keys and values; rises over `warmup_steps`, then
        falls on a cosine to a tenth at the last step.
    epochs: passes over the training text, were all its tokens scored, in at least `min_steps` and at most `max_steps`
        steps. What goes on from a version takes a third of that (`suited_to`), and sees less of what that knows.
    offset_kept: share that a prefix keeps of what was learned, from its start on. The rest brings a voice next to
        nothing and does half of the harm to other text (docs/likeness.md). A plain MLP keeps all: it has no start.
    evaluate_every: steps between two looks at the early-stopping set; `patience` looks without gain end it: so many
        that hardly any training does not reach its last step, since one that ends early can't say from the start when.
    """

    num_virtual_tokens: int = 16
    parametrisation: Parametrisation = "residual"
    initialisation: Literal["text", "random"] = "text"
    hidden: int = 128
    learning_rate: float = 2e-3
    warmup_steps: int = 5
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    offset_kept: float = 0.9
    tokens_per_step: int = 512
    epochs: int = 3
    min_steps: int = 20
    max_steps: int = 240
    evaluate_every: int = 5
    patience: int = 12

    @classmethod
    def from_config(cls, config: TuningConfig) -> Self:
        """The measured recipe at the configured prefix length and ceiling of steps."""
        return cls(num_virtual_tokens=config.num_virtual_tokens, max_steps=config.max_steps)

    def steps_for(self, train_tokens: int) -> int:
        """Steps of a training on so much text: so many epochs, within bounds. Little text is learned by heart soon."""
        wanted = self.epochs * math.ceil(train_tokens / self.tokens_per_step)
        return min(self.max_steps, max(self.min_steps, wanted))

    def gains_by_going_on(self, split: Split) -> bool:
        """Whether a training from a version that knows a part of this text comes as far in a third of the steps as anew
        in all: it does where a third is known and the steps are not few. Of few texts it learns the old ones by heart
        (docs/likeness.md)."""
        known = num_tokens(split.known) >= _LEAST_KNOWN_SHARE * num_tokens(split.train)
        return known and self._steps_going_on(split) >= _LEAST_STEPS_GOING_ON

    def suited_to(self, job: "TrainingJob") -> Self:
        """The same, with the steps, the warm-up and the rate of a training that goes on, where the job does."""
        if not job.goes_on:
            return self
        steps = self._steps_going_on(job.split)
        return replace(
            self,
            min_steps=steps,
            max_steps=steps,
            warmup_steps=_WARMUP_STEPS_GOING_ON,
            learning_rate=_RATE_GOING_ON * self.learning_rate,
        )

    def _steps_going_on(self, split: Split) -> int:
        return self.steps_for(num_tokens(split.train)) // _FEWER_STEPS_GOING_ON

    def looking_every(self, steps: int) -> Self:
        """The same with looks at other intervals. Patience lasts as many steps as before, and never less."""
        patience = math.ceil(self.patience * self.evaluate_every / steps)
        return replace(self, evaluate_every=steps, patience=patience)

    def schedule(self, step: int, steps: int) -> float:
        """Share of the learning rate at `step` of `steps`: a linear rise, then a cosine down to _FINAL_SHARE."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return _FINAL_SHARE + (1 - _FINAL_SHARE) * (1 + math.cos(math.pi * done)) / 2

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """One person's training. start: a prefix of the same length to begin with. goes_on: it is a version of this
    person's own, trained on what the split says is known."""

    split: Split
    seed: int = 0
    start: Prefix | None = None
    goes_on: bool = False


@dataclass(frozen=True)
class Progress:
    """Where one job stands after a step. train_loss in nats per token; held-out losses in bits per character of the
    early-stopping set. held_out_loss is None at steps that did not look at it; a loss that is not finite is None.
    steps_left: to the last step, and judging, in steps; 0 at the end. eta_seconds: the same in seconds of training."""

    step: int
    max_steps: int
    train_loss: float | None
    held_out_loss: float | None
    base_held_out_loss: float
    best_held_out_loss: float | None
    seconds: float
    eta_seconds: float
    steps_left: float = 0.0

    def as_metrics(self) -> dict[str, Any]:
        """The plain JSON recorded as the run's metrics event."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """The best prefix by the early-stopping set, and how it came about.

    history: the Progress of every look at the early-stopping set. seconds: of training, over all resumptions.
    """

    prefix: Prefix
    steps: int
    best_step: int
    base_held_out_loss: float
    best_held_out_loss: float
    seconds: float
    history: tuple[Progress, ...]
