"""People, voices, texts and runs for tests, made through storage's own functions."""

from collections.abc import Sequence
from typing import Any

from argon2 import PasswordHasher

from storage import base_models, prefixes, run_claims, samples, tuning_runs, users, voices
from storage.ids import new_id
from storage.models import PrefixVersion, Role, TuningRun, User, Voice, WritingSample
from storage.run_claims import Claim
from storage.store import Storage

PASSWORD = "correct horse battery"
FAST_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
FINGERPRINT = "f" * 64
LEASE_S = 60.0
SAMPLE_TEXTS = (
    "The ferry was late again, and nobody minded. We stood along the rail with our collars up and watched the gulls "
    "argue over a crust. Old Brennan said the sea keeps its own hours; he says it every winter, and every winter it "
    "is news to him. When the boat came in at last it came sideways, like a cat that wants to be asked.",
    "I do not trust a kitchen without a wobbly table. Ours has a folded seed packet under one leg, radishes, 1987, and "
    "it has outlived two dogs and a marriage. You learn to set a cup down slowly here. You learn to say pass the salt "
    "as if it were a long sentence. Visitors spill; family leans.",
    "What I meant to write was a letter about the roof, and what I wrote was this. The roof leaks, yes. But on Tuesday "
    "the light came through the crack above the stairs and lay on the wall like a ruler, and I thought: well, there "
    "is a use for everything. So the mending can wait until the swallows are gone.",
    "Three rules for walking with my uncle. First, never ask how far. Second, if he stops, it is for a bird, and you "
    "stop too. Third, on the way home he will tell you about the flood, and you have never heard it before. I have "
    "kept the third rule nineteen times now and the water rises a little every year.",
    "The shop sells string, lamp oil, boots, and opinions. The opinions are free, and you get one with each purchase "
    "whether you want it or not. Yesterday I bought a box of nails and was told that the mayor's hedge is an insult "
    "to geometry. I carried both home, and only the nails were heavy.",
)

# 22 words by storage.words; 26 stand between spaces
UNTIDY_TEXT = (
    "– Well-known facts: 3.5 % of readers (1,204 of 34,400) can't find https://example.org/a-b_c?d=1&e=2 — or so he "
    "said… Off you go, then — “mind the doors”."
)
UNTIDY_WORDS = 22


def make_user(storage: Storage, email: str | None = None, *, password: str = PASSWORD, role: Role = "writer") -> User:
    """An account with its data key and first voice; the password is PASSWORD unless given."""
    with storage.database.session() as session:
        address = f"{new_id('someone')}@example.org" if email is None else email
        return users.sign_up(session, storage.keys, email=address, password=password, role=role, hasher=FAST_HASHER)


def first_voice(storage: Storage, user: User) -> Voice:
    """The voice the account was made with."""
    with storage.database.session() as session:
        return voices.list_voices(session, user.id)[0]


def make_voice(storage: Storage, user: User, name: str = "Letters") -> Voice:
    """A further, empty voice."""
    with storage.database.session() as session:
        return voices.create_voice(session, user.id, name)


def add_samples(storage: Storage, user: User, voice: Voice, texts: Sequence[str] = SAMPLE_TEXTS) -> list[WritingSample]:
    """Give the voice these texts."""
    with storage.database.session() as session:
        return [
            samples.add_sample(session, storage.keys, user_id=user.id, voice_id=voice.id, text=text) for text in texts
        ]


def make_run(storage: Storage, user: User, voice: Voice, *, seed: int = 0) -> TuningRun:
    """A queued run (or the one that is live); the voice gets SAMPLE_TEXTS when it has no samples."""
    with storage.database.session() as session:
        empty = samples.readiness(session, user.id, voice.id).num_samples == 0
    if empty:
        add_samples(storage, user, voice)
    with storage.database.session() as session:
        return tuning_runs.request_run(session, user_id=user.id, voice_id=voice.id, seed=seed)[0]


def claim_run(
    storage: Storage, run: TuningRun, *, worker: str = "worker-a", lease_s: float = LEASE_S, max_attempts: int = 3
) -> Claim:
    """Claim a run that can be claimed. A negative lease_s is a lease that has run out already."""
    with storage.database.session() as session:
        held = run_claims.claim(session, run.id, worker=worker, lease_s=lease_s, max_attempts=max_attempts)
    assert held is not None, "this run can't be claimed"
    return held


def start_run(storage: Storage, run: TuningRun, *, max_steps: int = 100, lease_s: float = LEASE_S) -> Claim:
    """Claim a run and begin to train it."""
    held = claim_run(storage, run, lease_s=lease_s)
    with storage.database.session() as session:
        run_claims.start_running(session, held, max_steps)
    return held


def publish(
    storage: Storage, user: User, voice: Voice, data: bytes = b"prefix bytes", base_fingerprint: str = FINGERPRINT
) -> PrefixVersion:
    """Take a voice through a whole run that publishes these bytes."""
    held = start_run(storage, make_run(storage, user, voice))
    return prefixes.publish_prefix(
        storage,
        held,
        data=data,
        base_fingerprint=base_fingerprint,
        num_virtual_tokens=16,
        figures={"reduction_pct": 4.5, "samples": len(SAMPLE_TEXTS)},
    )


def register_base_model(
    storage: Storage,
    name: str = "idiolect-base",
    fingerprint: str = FINGERPRINT,
    *,
    num_parameters: int = 22_029_696,
    probe: dict[str, Any] | None = None,
) -> None:
    """A base model that a worker has loaded and probed."""
    with storage.database.session() as session:
        base_models.register(
            session,
            fingerprint=fingerprint,
            name=name,
            num_parameters=num_parameters,
            context_length=1152,
            probe=probe or {},
        )
