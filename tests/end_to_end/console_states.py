"""The people, runs and workers that the console is pictured with: realistic states, spread over some weeks, all made
through storage's own functions."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any
from unittest.mock import patch

from flask import Flask
from sqlalchemy.orm import Session

from storage import api_keys, clock, latency, prefixes, run_claims, usage, workers
from storage.models import WorkerHeartbeat
from storage.run_claims import Claim
from storage.store import Storage
from tests.app.web.browser import Person, join
from tests.app.web.training import end, measured
from tests.factories import SAMPLE_TEXTS, add_samples, register_base_model
from tuning.celery_app import enqueue_tuning

LONG = "maximiliane.featherstonehaugh-montgomery@correspondence.example.org"
TUNER, SECOND, GONE = "celery@tuner-1", "celery@tuner-2", "celery@tuner-old.internal.example.org"
MAX_STEPS = 400
FIGURES: dict[str, Any] = {
    "samples": 5,
    "train_tokens": 12_480,
    "base_bits_per_char": 2.4781,
    "voice_bits_per_char": 2.3706,
    "reduction_pct": 4.338,
    "train_seconds": 143.2,
    "prefix_bytes": 98_304,
    "num_virtual_tokens": 16,
    "steps": 240,
    "best_step": 180,
}
GAVE_UP = "Training was interrupted 3 times, so it was given up. Nothing of yours is lost: start it again, and tell an "
GAVE_UP += "administrator if it happens once more."
PROBE: dict[str, Any] = {  # what the probe measures on the model that comes with the platform
    "layer_shapes": [[2, 64]] * 12,
    "num_virtual_tokens": 16,
    "context_length": 1152,
    "disagreement": 5.924405372735418e-07,
    "near_effect": 0.1872500108134011,
    "far_effect": 0.1092970646246622,
}


@contextmanager
def ago(hours: float) -> Iterator[None]:
    """What storage writes down in the block happened that long ago."""
    with patch.object(clock, "now", lambda: time.time() - 3600 * hours):
        yield


def writer(app: Flask, storage: Storage, email: str) -> Person:
    """Somebody with five samples."""
    person = join(app, storage, email)
    add_samples(storage, person.user, person.voice, SAMPLE_TEXTS)
    return person


def begin(person: Person, *, worker: str = TUNER, steps: int = 9, lease_s: float = 60) -> Claim:
    """A run of this person that a worker has taken and brought some steps on."""
    run = person.run()
    with person.storage.database.session() as session:
        claim = run_claims.claim(session, run.id, worker=worker, lease_s=lease_s, max_attempts=3)
        assert claim is not None
        run_claims.start_running(session, claim, MAX_STEPS, base_fingerprint="f" * 64)
        for number in range(steps):
            run_claims.record_progress(session, claim, 10 * (number + 1), measured(number, MAX_STEPS))
    return claim


def publish(person: Person, base_fingerprint: str = "f" * 64) -> str:
    """A whole run that publishes; its id."""
    claim = begin(person, steps=24)
    prefixes.publish_prefix(
        person.storage,
        claim,
        data=bytes(98_304),
        base_fingerprint=base_fingerprint,
        num_virtual_tokens=16,
        figures=FIGURES,
    )
    return claim.run_id


def platform_set_up(storage: Storage) -> None:
    """Two models, the second in use, and three workers, one of them silent."""
    with ago(24 * 40):
        register_base_model(storage, "idiolect-base-small", "0b" * 32, num_parameters=3_211_520, probe=PROBE)
    with ago(30):
        register_base_model(storage, probe=PROBE)
        with storage.database.session() as session:
            for name in (TUNER, SECOND, GONE):
                workers.beat(session, name)


def old_hand(app: Flask, storage: Storage) -> tuple[Person, str]:
    """Somebody with keys and two versions; and the newer run."""
    with ago(24 * 12):
        anna = writer(app, storage, "anna@example.org")
        with storage.database.session() as session:
            laptop, _ = api_keys.create_key(session, anna.user.id, "laptop")
            phone, _ = api_keys.create_key(session, anna.user.id, "the old phone that fell into the harbour")
            counts = {phone.id: usage.Counts(2, 90, 400), usage.PAGES: usage.Counts(5, 210, 1_800)}
            places = {usage.Place(anna.user.id, usage.today(), key, anna.voice.id): counts[key] for key in counts}
            usage.add(session, places)
        publish(anna)
    with ago(27), storage.database.session() as session:
        for key in api_keys.list_keys(session, anna.user.id):
            api_keys.touch(session, key.id)
        api_keys.revoke_key(session, anna.user.id, phone.id, actor_id=anna.user.id)
    with storage.database.session() as session:
        use_of_a_month(session, anna, laptop.id)
    with ago(26):
        return anna, publish(anna)


def use_of_a_month(session: Session, anna: Person, key_id: str) -> None:
    """What was asked with one key, more on some days than on others; and how long it took, in the last hours."""
    today = date.fromisoformat(usage.today())
    for ago in range(30):
        day, busy = (today - timedelta(days=ago)).isoformat(), (ago * 7) % 11
        counts = usage.Counts(4 * busy, 700 * busy, 2_100 * busy)
        usage.add(session, {usage.Place(anna.user.id, day, key_id, anna.voice.id): counts})
    for ago in range(40):
        hour = latency.hour_of(time.time() - 3600 * ago)
        slow = latency.BOUNDS_MS[6 + (ago * 5) % 7]
        counted = {latency.Place(hour, "text", 35): 30 + ago, latency.Place(hour, "text", slow): 4}
        latency.add(
            session, counted | {latency.Place(hour, "other", 5): 20, latency.Place(hour, "other", slow // 2): 2}
        )


def read_prefixes(person: Person) -> None:
    """The cache is asked a few times, and once in vain."""
    given = (person.storage, person.user.id, person.voice.id)
    prefixes.wipe_cached(*given)
    for _ in range(38):
        prefixes.load_prefix(*given)


def runs_at_each_state(app: Flask, storage: Storage) -> dict[str, str]:
    """Other people's runs, by what is to be seen of them; everybody has one."""
    runs: dict[str, str] = {}

    def somebody(name: str) -> Person:
        return writer(app, storage, name if "@" in name else f"{name}@example.org")

    with ago(24 * 35):
        for name in ("tove", "amadou"):
            publish(somebody(name), base_fingerprint="0b" * 32)
    with ago(70):
        end(unlucky := somebody("jonas"), begin(unlucky), "succeeded", published=False, figures=FIGURES)
        end(undecided := somebody("mirja"), begin(undecided, steps=2), "cancelled")
    with ago(5):
        end(broken := somebody("pavel"), begin(broken), "failed", error_code="gave_up", error_message=GAVE_UP)
        runs["failed"] = newest_run(broken)
    with ago(0.4):
        runs["lost"] = begin(somebody("ines"), worker=GONE, steps=3).run_id
    running = begin(somebody(LONG), lease_s=600)
    runs["running"] = running.run_id
    with storage.database.session() as session:
        workers.beat(session, TUNER, running.run_id)
        workers.beat(session, SECOND)
        session.get_one(WorkerHeartbeat, GONE).run_id = runs["lost"]
    for name in ("wout", "chiara"):
        runs["queued"] = somebody(name).run().id
        enqueue_tuning(runs["queued"])
    return runs


def newest_run(person: Person) -> str:
    """The id of this person's newest run."""
    with person.storage.database.session() as session:
        return person.newest_run_id(session)
