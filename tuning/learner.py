"""Learner: one person's training as it stands — the trainee whom steps change, the best prefix so far, the course. It
shares nothing with other learners but the frozen base model. Knows nothing of the batch it is in."""

import hashlib
import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tuning.base_model import BaseModel
from tuning.checkpoint import Checkpoint
from tuning.dataset import Block, num_tokens
from tuning.errors import InvalidCheckpoint
from tuning.evaluation import bits_per_char
from tuning.prefix import Prefix
from tuning.prefix_encoder import start_at_random, start_from_tokens, training_dtype
from tuning.trainee import KNOWN_SHARE, Trainee
from tuning.training import Progress, TrainingJob, TrainingResult, TrainingSettings

JUDGING_STEPS = 1.5  # to judge by as much text as a step trains on: three sides forward, in the weights' own type


class Learner:
    """One job's trainable state. Same job, settings, base model, plan of steps and kind of processor, alone on a CPU:
    same course, to the bit. In other passes or beside others sums are rounded otherwise."""

    def __init__(
        self, base: BaseModel, job: TrainingJob, settings: TrainingSettings, resume_from: bytes | None = None
    ) -> None:
        """resume_from: what `to_checkpoint` gave; training goes on from there as if nothing had happened. Raises
        InvalidCheckpoint when it is damaged or of other data, settings or another base model."""
        settings = settings.suited_to(job)
        self._base, self._job, self._settings = base, job, settings
        self._belongs_to = _digest(base, job, settings)
        self.trainee = Trainee(
            _start(base, job, settings),
            job.split.train,
            settings,
            known=job.split.known if job.goes_on else (),
            max_steps=settings.steps_for(num_tokens(job.split.train)),
            seed=job.seed,
        )
        self._best = self.present()
        self._history: list[Progress] = []
        self._looks_without_gain = 0
        self._diverged = False
        self._best_step = 0
        self.seconds = 0.0
        self.best_loss = math.inf
        if resume_from is None:
            self.base_loss = bits_per_char(base, None, job.split.stop)
        else:
            self._restore(resume_from)

    @property
    def step(self) -> int:
        """How many steps there were."""
        return self.trainee.step

    @property
    def max_steps(self) -> int:
        """How many there may be."""
        return self.trainee.max_steps

    @property
    def finished(self) -> bool:
        """No step is left, the early-stopping set has stopped gaining, or a loss is no number any more."""
        exhausted = self._looks_without_gain >= self._settings.patience
        return self._diverged or exhausted or self.step >= self.max_steps

    def present(self) -> Prefix:
        """The prefix that this training would give as it stands: a little nearer to its start than what was learned."""
        return self.trainee.encoder.prefix(self._settings.offset_kept)

    def stepped(self, train_loss: float) -> None:
        """There was a step. A loss that is no number ends this person's training with the best prefix so far."""
        self._diverged = not math.isfinite(train_loss)

    @property
    def due(self) -> bool:
        """Whether the early-stopping set is to be looked at now."""
        return self.step % self._settings.evaluate_every == 0 or self.step >= self.max_steps

    @property
    def early_stopping_set(self) -> tuple[Block, ...]:
        """What a look measures."""
        return self._job.split.stop

    def looked(self, prefix: Prefix, loss: float) -> None:
        """The present prefix was measured on the early-stopping set, in bits per character: keep it if it is the best
        so far."""
        if loss < self.best_loss:
            self._best, self.best_loss, self._best_step, self._looks_without_gain = prefix, loss, self.step, 0
        else:
            self._looks_without_gain += 1

    def progress(self, train_loss: float | None, held_out_loss: float | None) -> Progress:
        """Where this job stands; looks at the early-stopping set enter the history."""
        left = 0.0 if self.finished else self._steps_left()
        progress = Progress(
            step=self.step,
            max_steps=self.max_steps,
            train_loss=_finite(train_loss),
            held_out_loss=_finite(held_out_loss),
            base_held_out_loss=self.base_loss,
            best_held_out_loss=_finite(self.best_loss),
            seconds=self.seconds,
            eta_seconds=self.seconds / max(1, self.step) * left,
            steps_left=left,
        )
        if held_out_loss is not None:
            self._history.append(progress)
        return progress

    def _steps_left(self) -> float:
        """To the last step, which nearly every training reaches, and through the judging that follows it."""
        judging = JUDGING_STEPS * num_tokens(self._job.split.test) / self.trainee.deck.tokens_per_step
        return self.max_steps - self.step + judging

    def result(self) -> TrainingResult:
        """The best prefix so far and its course."""
        return TrainingResult(
            prefix=self._best.to(dtype=self._base.dtype),
            steps=self.step,
            best_step=self._best_step,
            base_held_out_loss=self.base_loss,
            best_held_out_loss=self.best_loss,
            seconds=self.seconds,
            history=tuple(self._history),
        )

    def to_checkpoint(self) -> bytes:
        """The whole state."""
        tensors = self.trainee.tensors()
        tensors |= {f"best.key.{n}": tensor for n, tensor in enumerate(self._best.keys)}
        tensors |= {f"best.value.{n}": tensor for n, tensor in enumerate(self._best.values)}
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "base_loss": self.base_loss,
            "best_loss": self.best_loss,
            "best_step": self._best_step,
            "looks_without_gain": self._looks_without_gain,
            "deck_position": self.trainee.deck.position,
            "history": [progress.as_metrics() for progress in self._history],
        }
        return Checkpoint(tensors, state, self._belongs_to).to_bytes()

    def _restore(self, data: bytes) -> None:
        checkpoint = Checkpoint.from_bytes(data, self._belongs_to)
        try:
            self._take_up(checkpoint.tensors, checkpoint.state)
        except (KeyError, TypeError, RuntimeError) as wrong:
            raise InvalidCheckpoint("This checkpoint has other parts than this release's.") from wrong

    def _take_up(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        self.trainee.take_up(tensors, state["step"], state["deck_position"])
        keys, values = (
            tuple(tensors[f"best.{part}.{n}"].to(self._base.device) for n in range(len(self._best.keys)))
            for part in ("key", "value")
        )
        self._best = Prefix(keys, values, self._base.fingerprint)
        self.seconds, self.base_loss = state["seconds"], state["base_loss"]
        self.best_loss, self._best_step = state["best_loss"], state["best_step"]
        self._looks_without_gain = state["looks_without_gain"]
        self._history = [Progress(**metrics) for metrics in state["history"]]


def _start(base: BaseModel, job: TrainingJob, settings: TrainingSettings) -> Prefix:
    if job.start is not None:
        if job.start.num_virtual_tokens != settings.num_virtual_tokens:
            raise ValueError(
                f"the start prefix has {job.start.num_virtual_tokens} virtual tokens, "
                f"the settings say {settings.num_virtual_tokens}"
            )
        return job.start.to(base.device, training_dtype(base))
    if settings.initialisation == "random":
        return start_at_random(base, settings.num_virtual_tokens, job.seed)
    newest = _newest(job.split.train, settings.num_virtual_tokens)
    return start_from_tokens(base, newest.token_ids[newest.num_context :], settings.num_virtual_tokens)


def _newest(blocks: Sequence[Block], least: int) -> Block:
    """The last block that scores `least` tokens, so that a start is made of no three tokens again and again; where
    there is none, the one that scores the most."""
    enough = (block for block in reversed(blocks) if block.num_scored >= least)
    return next(enough, None) or max(blocks, key=lambda block: block.num_scored)


def _digest(base: BaseModel, job: TrainingJob, settings: TrainingSettings) -> str:
    start = job.start.digest if job.start is not None else ""
    whole = (
        base.fingerprint,
        str(base.dtype),
        job.split.digest,
        job.seed,
        settings.digest,
        start,
        *((job.split.known, KNOWN_SHARE) if job.goes_on else ()),
    )
    return hashlib.sha256(repr(whole).encode()).hexdigest()


def _finite(loss: float | None) -> float | None:
    """JSON has no word for a loss that is no number."""
    return loss if loss is not None and math.isfinite(loss) else None
