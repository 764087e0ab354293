"""train_prefixes: many people's prefixes in one forward and backward pass, each as if it were alone. Owns the loop;
what belongs to one person is a Learner's. Knows nothing of runs, leases or storage."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tuning.base_model import BaseModel
from tuning.dataset import num_tokens
from tuning.errors import Stopped
from tuning.learner import Learner
from tuning.precision import fast_arithmetic
from tuning.scoring import row_losses
from tuning.training import Progress, TrainingJob, TrainingResult, TrainingSettings

__all__ = ["Progress", "TrainingJob", "TrainingResult", "TrainingSettings", "train_prefixes"]

OnProgress = Callable[[int, Progress], None]
OnCheckpoint = Callable[[int, bytes], None]


def train_prefixes(
    base: BaseModel,
    jobs: Sequence[TrainingJob],
    settings: TrainingSettings,
    *,
    on_progress: OnProgress | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    resume_from: Sequence[bytes | None] | None = None,
) -> list[TrainingResult | None]:
    """Train one prefix per job; every job has its own optimizer, order of data, clip and early stop.

    on_progress(job, progress): after every step. It may raise Stopped: that job leaves and has no result, the others
        go on; Stopped is raised from here once no job is left that was not stopped.
    on_checkpoint(job, bytes): after every look at the early-stopping set but the first and the last.
    resume_from: per job, the bytes of its last checkpoint. Raises InvalidCheckpoint when they are of another training.
    """
    learners = [Learner(base, job, settings) for job in jobs]
    for learner, data in zip(learners, resume_from or [None] * len(learners), strict=True):
        if data is not None:
            learner.restore(data)
    course = _Course(learners, on_progress, on_checkpoint)
    course.begin()
    while running := course.running():
        began = time.monotonic()
        losses = train_step(base, [learners[number] for number in running])
        for number, loss in zip(running, losses, strict=True):
            learners[number].seconds += time.monotonic() - began
            course.report(number, loss)
    return course.results()


class _Course:
    """Which jobs still run, and whom to tell."""

    def __init__(
        self, learners: list[Learner], on_progress: OnProgress | None, on_checkpoint: OnCheckpoint | None
    ) -> None:
        self._learners, self._on_progress, self._on_checkpoint = learners, on_progress, on_checkpoint
        self._stopped: dict[int, Stopped] = {}

    def begin(self) -> None:
        """Look at the early-stopping set before the first step: the start may already be the best there is."""
        for number, learner in enumerate(self._learners):
            if learner.step == 0:
                self.report(number, None)

    def running(self) -> list[int]:
        """Numbers of the jobs that go on."""
        learners = enumerate(self._learners)
        return [number for number, learner in learners if number not in self._stopped and not learner.finished]

    def report(self, number: int, train_loss: float | None) -> None:
        """Look at the early-stopping set if it is time, then tell progress and checkpoint."""
        learner = self._learners[number]
        looked = learner.look() if learner.due else None
        progress = learner.progress(train_loss, looked)
        try:
            if self._on_progress:
                self._on_progress(number, progress)
            if self._on_checkpoint and looked is not None and learner.step and not learner.finished:
                self._on_checkpoint(number, learner.to_checkpoint())
        except Stopped as stop:
            self._stopped[number] = stop

    def results(self) -> list[TrainingResult | None]:
        """One result per job; None for the stopped ones. Raises Stopped when there is no other."""
        if self._stopped and len(self._stopped) == len(self._learners):
            raise next(iter(self._stopped.values()))
        return [None if n in self._stopped else learner.result() for n, learner in enumerate(self._learners)]


def train_step(base: BaseModel, learners: Sequence[Learner]) -> list[float]:
    """One forward and backward pass over everybody's next blocks, then everybody's own update. The loss is each
    person's mean over their tokens, summed over people, so no gradient crosses from one to another. Returns nats per
    token."""
    dealt = [learner.next_blocks() for learner in learners]
    owners = torch.tensor([number for number, blocks in enumerate(dealt) for _ in blocks], device=base.device)
    stacked = _stacked(base, learners, [len(blocks) for blocks in dealt])
    with fast_arithmetic(base):
        losses = row_losses(base, [block for blocks in dealt for block in blocks], stacked)
    means = [losses[owners == number].sum() / num_tokens(blocks) for number, blocks in enumerate(dealt)]
    torch.stack(means).sum().backward()  # type: ignore[no-untyped-call]
    told = [float(mean.detach()) for mean in means]
    for learner, loss in zip(learners, told, strict=True):
        learner.update(loss)
    return told


def _stacked(base: BaseModel, learners: Sequence[Learner], num_rows: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Keys and values per layer, [rows, num_kv_heads, P, head_dim]: `num_rows` neighbouring rows for each learner.

    Expanded, not indexed: the gradient of an index adds up in whatever order threads come, and no two runs are alike.
    """
    encoded = [learner.encoder() for learner in learners]
    layers = zip(*(zip(*keys_values, strict=True) for keys_values in encoded), strict=True)

    def rows(tensors: Sequence[Tensor]) -> Tensor:
        expanded = (one.expand(number, *one.shape) for one, number in zip(tensors, num_rows, strict=True))
        return torch.cat(list(expanded)).to(base.dtype)

    return [(rows([keys for keys, _ in layer]), rows([values for _, values in layer])) for layer in layers]
