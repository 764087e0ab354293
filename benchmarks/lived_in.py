"""A platform that has been lived in: people with samples, runs in every state with their events, versions with reports,
use and keys, all through storage's own functions. One writer and one administrator are signed in.

The writer has every sample that was asked for in one voice, as many as a voice may hold, and a tenth of the runs; the
others have three samples and the rest of the runs between them. The text is made of common words, drawn."""

import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from argon2 import PasswordHasher

from storage import (
    api_keys,
    base_models,
    prefixes,
    reports,
    run_claims,
    samples,
    text_intake,
    tuning_runs,
    usage,
    users,
    voices,
    web_sessions,
    workers,
)
from storage.models import Role
from storage.remarks import Remarks
from storage.store import Storage
from tuning.style import FUNCTION_WORDS, style_of

FINGERPRINT, BASE_NAME = "f" * 64, "idiolect-base"
WORDS_A_PIECE, LOOKS, MAX_STEPS, USED_DAYS = 200, 36, 180, 30
OTHERS_SAMPLES = 3
WAITING = 20  # samples of the writer that came out of a file and were not looked at
WORKER = "celery@worker"
LEASE_S = 600.0
_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # nobody signs in with a password here
_CONTENT_WORDS = (
    "ferry",
    "kitchen",
    "letter",
    "roof",
    "uncle",
    "harbour",
    "winter",
    "table",
    "garden",
    "radio",
    "stone",
)
_FIGURES: dict[str, Any] = {
    "samples": 40,
    "test_samples": 8,
    "train_tokens": 9_800,
    "stop_tokens": 900,
    "test_tokens": 2_400,
    "base_bits_per_char": 2.478,
    "voice_bits_per_char": 2.37,
    "population_bits_per_char": 2.46,
    "reduction_pct": 4.34,
    "train_seconds": 43.2,
    "prefix_bytes": 98_304,
    "num_virtual_tokens": 16,
    "steps": 140,
    "best_step": 115,
}


@dataclass(frozen=True)
class Somebody:
    """Whose session token, voice, newest sample, and newest and live run are these."""

    user_id: str
    token: str
    voice_id: str
    sample_id: str = ""
    run_id: str = ""


@dataclass(frozen=True)
class LivedIn:
    """Who can be asked as."""

    writer: Somebody
    administrator: Somebody


def live_in(storage: Storage, num_users: int, num_samples: int, num_runs: int, seed: int = 0) -> LivedIn:
    """Fill an empty platform. num_samples: of the writer; num_runs: of all."""
    drawn = random.Random(seed)
    with storage.database.session() as session:
        base_models.register(
            session,
            fingerprint=FINGERPRINT,
            name=BASE_NAME,
            num_parameters=22_029_696,
            context_length=1152,
            probe={"languages": ["en"]},
        )
        workers.beat(session, WORKER)
    own, each = num_runs // 10, (num_runs - num_runs // 10) / max(1, num_users - 2)
    administrator = _join(storage, "chief@example.org", "admin")
    for number in range(num_users - 2):
        other = _join(storage, f"writer{number}@example.org")
        _give(storage, other, OTHERS_SAMPLES, drawn)
        count = round(each * (number + 1)) - round(each * number)
        for left in reversed(range(count)):
            _run(storage, other, ended=left > 0 or number % 9 > 0, drawn=drawn)
    writer = _join(storage, "writer@example.org")
    _give(storage, writer, num_samples - WAITING, drawn)
    for _ in range(own - 1):
        _run(storage, writer, ended=True, drawn=drawn)
    _report(storage, writer, drawn)
    _use(storage, writer)
    _give(storage, writer, WAITING, drawn, waiting=True)
    run_id = _run(storage, writer, ended=False, drawn=drawn)
    with storage.database.reading() as session:
        newest = samples.included_ids(session, writer.user_id, writer.voice_id)[-1]
    return LivedIn(Somebody(writer.user_id, writer.token, writer.voice_id, newest, run_id), administrator)


def _join(storage: Storage, email: str, role: Role = "writer") -> Somebody:
    drawn_password = secrets.token_hex()
    with storage.database.session() as session:
        user = users.sign_up(session, storage.keys, email=email, password=drawn_password, role=role, hasher=_HASHER)
        voice = voices.list_voices(session, user.id)[0]
        return Somebody(user.id, web_sessions.start(session, user.id), voice.id)


def _give(storage: Storage, whom: Somebody, count: int, drawn: random.Random, *, waiting: bool = False) -> None:
    drafts = [
        text_intake.draft(
            _text(drawn),
            title=f"Piece {number}" if number % 2 else None,
            prompt="What was it like there?" if number % 3 else None,
            written_on=f"20{10 + number % 15}-0{1 + number % 9}-11",
        )
        for number in range(count)
    ]
    noticed = [Remarks(source=f"piece {number}.txt") for number in range(count)]
    with storage.database.session() as session:
        samples.add_drafts(
            session,
            storage.keys,
            user_id=whom.user_id,
            voice_id=whom.voice_id,
            drafts=drafts,
            noticed=noticed,
            waiting=waiting,
        )


def _text(drawn: random.Random) -> str:
    words = [drawn.choice(_CONTENT_WORDS if drawn.random() < 0.4 else FUNCTION_WORDS) for _ in range(WORDS_A_PIECE)]
    sentences = (" ".join(words[start : start + 14]).capitalize() for start in range(0, WORDS_A_PIECE, 14))
    return ". ".join(sentences) + "."


def _run(storage: Storage, whom: Somebody, *, ended: bool, drawn: random.Random) -> str:
    """One run with all its events; mostly it publishes."""
    with storage.database.session() as session:
        run, _ = tuning_runs.request_run(session, user_id=whom.user_id, voice_id=whom.voice_id)
        claim = run_claims.claim(session, run.id, worker=WORKER, lease_s=LEASE_S, max_attempts=3)
        assert claim is not None
        run_claims.start_running(session, claim, MAX_STEPS)
        for step, metrics in _metrics():
            run_claims.record_progress(session, claim, step, metrics)
    if not ended:
        return claim.run_id
    end = drawn.choice(["published"] * 7 + ["not published", "failed", "cancelled"])
    if end == "published":
        prefixes.publish_prefix(
            storage,
            claim,
            data=drawn.randbytes(_FIGURES["prefix_bytes"]),
            base_fingerprint=FINGERPRINT,
            num_virtual_tokens=16,
            figures=_FIGURES,
        )
        return claim.run_id
    with storage.database.session() as session:
        if end == "failed":
            run_claims.finish(session, claim, state="failed", error_code="internal", error_message="It went wrong.")
        elif end == "cancelled":
            run_claims.finish(session, claim, state="cancelled")
        else:
            run_claims.finish(session, claim, state="succeeded", published=False, figures=_FIGURES)
    return claim.run_id


def _metrics() -> Iterator[tuple[int, dict[str, Any]]]:
    for look in range(1, LOOKS):
        loss = 2.5 - 0.1 * (1 - 0.9**look)
        step = look * MAX_STEPS // LOOKS
        yield (
            step,
            {
                "step": step,
                "max_steps": MAX_STEPS,
                "train_loss": 3.0,
                "held_out_loss": loss,
                "base_held_out_loss": 2.5,
                "best_held_out_loss": loss,
                "seconds": 0.3 * step,
                "eta_seconds": 0.3 * (MAX_STEPS - step),
            },
        )


def _report(storage: Storage, whom: Somebody, drawn: random.Random) -> None:
    """Of the newest version."""
    styles = {of: style_of([_text(drawn) for _ in range(20)]) for of in ("samples", "base", "voice")}
    with storage.database.session() as session:
        newest = max(voices.list_versions(session, whom.user_id, whom.voice_id), key=lambda version: version.version)
        measured = {
            "in_context_bits_per_char": 2.4,
            "neutral_rise_pct": 1.25,
            "style": {of: style and style.as_json() for of, style in styles.items()},
            "style_distance": {"base": 0.6, "voice": 0.4},
            "longest_overlap": {"words": 5, "chars": 27},
        }
        reports.add_report(session, storage.keys, whom.user_id, newest.run_id, measured)
        voices.use_version(session, whom.user_id, whom.voice_id, newest.version)


def _use(storage: Storage, whom: Somebody) -> None:
    """Keys, and what they were used for."""
    with storage.database.session() as session:
        keys = [api_keys.create_key(session, whom.user_id, name)[0].id for name in ("laptop", "nightly letters")]
        days = [(datetime.now(UTC) - timedelta(days=number)).date().isoformat() for number in range(USED_DAYS)]
        places = [usage.Place(whom.user_id, day, key, whom.voice_id) for day in days for key in (*keys, usage.PAGES)]
        usage.add(session, {place: usage.Counts(40, 1_200, 4_800) for place in places})
