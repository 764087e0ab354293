"""People who asked for a training, and a worker's bench to train them on: what the tests of whole runs share."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import update

from storage import prefixes, run_claims, samples, tuning_runs, voices
from storage.models import PrefixVersion, TuningCheckpoint, TuningEvent, TuningRun, User
from storage.run_claims import Claim
from storage.store import Storage
from tests.factories import add_samples, first_voice, make_run, make_user
from tuning.prefix import Prefix
from tuning.training import TrainingSettings
from tuning.tuning_job import tune
from tuning.workbench import Bench

LINE = "The lighthouse keeper counts the waves and writes them down in blue ink. "
PIECES = tuple(f"Piece {number}. {LINE * 2}" for number in range(6))
QUICK = TrainingSettings(num_virtual_tokens=4, max_steps=20, evaluate_every=5, tokens_per_step=256)
LONG = replace(QUICK, max_steps=5000, epochs=10_000)  # to be stopped in mid-run


@dataclass(frozen=True)
class Asked:
    """A person who asked for a training."""

    storage: Storage
    user: User
    voice_id: str
    run_id: str

    def run(self) -> TuningRun:
        with self.storage.database.reading() as session:
            return tuning_runs.get_run(session, self.user.id, self.run_id)

    def has_ended(self) -> bool:
        return self.run().finished_at is not None

    def messages(self) -> list[str]:
        return [event.message for event in self._events() if event.type == "message"]

    def metrics(self) -> list[dict[str, Any]]:
        return [event.data for event in self._events() if event.type == "metrics"]

    def versions(self) -> list[PrefixVersion]:
        """The newest first."""
        with self.storage.database.reading() as session:
            return voices.list_versions(session, self.user.id, self.voice_id)

    def checkpoint_step(self) -> int | None:
        """The step of the checkpoint that is kept, None without one."""
        with self.storage.database.reading() as session:
            kept = session.get(TuningCheckpoint, self.run_id)
            return kept.step if kept else None

    def has_checkpoint(self) -> bool:
        return self.checkpoint_step() is not None

    def _events(self) -> list[TuningEvent]:
        with self.storage.database.reading() as session:
            return tuning_runs.list_events(session, self.user.id, self.run_id, limit=1000)


def ask(storage: Storage, pieces: tuple[str, ...] = PIECES, seed: int = 0) -> Asked:
    """Sign a person up, give their writing, ask for a training."""
    user = make_user(storage)
    voice = first_voice(storage, user)
    add_samples(storage, user, voice, pieces)
    return Asked(storage, user, voice.id, make_run(storage, user, voice, seed=seed).id)


def delete_first_sample(asked: Asked) -> None:
    with asked.storage.database.session() as session:
        first = samples.included_ids(session, asked.user.id, asked.voice_id)[0]
        samples.delete_sample(session, asked.user.id, asked.voice_id, first)


def claim_elsewhere(asked: Asked) -> Claim | None:
    with asked.storage.database.session() as session:
        return run_claims.claim(session, asked.run_id, worker="elsewhere:2", lease_s=60, max_attempts=3)


def let_lease_expire(asked: Asked) -> None:
    with asked.storage.database.session() as session:
        session.execute(update(TuningRun).where(TuningRun.id == asked.run_id).values(lease_until=0.0))


def tune_beside(bench: Bench, asked: Asked) -> threading.Thread:
    """Begin the run in a thread and wait until it trains and has kept a checkpoint."""
    thread = threading.Thread(target=tune, args=(bench, asked.run_id))
    thread.start()
    wait_until(asked.has_checkpoint)
    return thread


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def published(bench: Bench, asked: Asked) -> Prefix:
    data = prefixes.load_prefix(asked.storage, asked.user.id, asked.voice_id).data
    return Prefix.from_bytes(data, bench.base.fingerprint)


def interrupted(bench: Bench, asked: Asked) -> None:
    """Train until a checkpoint is kept, then let the worker be told to stop."""
    stopping = threading.Event()
    thread = tune_beside(replace(bench, is_stopping=stopping.is_set), asked)
    stopping.set()
    thread.join()
