"""The tables. Text, titles, prompts, files, checkpoints, prefixes and reports are ciphertext under their owner's key.

This module knows no encryption: columns named `*_sealed` hold what `storage.crypto` made. Times are UTC seconds
since the epoch (floats), the same on SQLite and PostgreSQL. The wrapped data keys are not here: see storage.keys.
"""

from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from storage.platform_models import (
    ApiLatency,
    AuditEvent,
    Maintenance,
    OutboxMessage,
    Receipt,
    RegisteredBaseModel,
    WorkerHeartbeat,
)
from storage.table import Base

RunState = Literal["queued", "leased", "running", "paused", "committing", "succeeded", "failed", "cancelled"]
LIVE_STATES: tuple[RunState, ...] = ("queued", "leased", "running", "paused", "committing")
CLAIMED_STATES: tuple[RunState, ...] = ("leased", "running", "committing")
ENDED_STATES: tuple[RunState, ...] = ("succeeded", "failed", "cancelled")
Role = Literal["writer", "admin"]
ConsoleRole = Literal["auditor", "operator", "owner"]  # each may do what those before it may
UserState = Literal["active", "suspended"]
TrialChoice = Literal["version", "against", "neither"]
DeliveryKind = Literal["password_reset", "password_link_made", "password_changed", "run_ended"]
Channel = Literal["mail", "webhook"]


def _owner() -> Mapped[str]:
    return mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)


class User(Base):
    """A person with an account. `email` is lower case and stripped."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(primary_key=True)  # user-…
    email: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]  # argon2id; empty: signs in by an Identity alone, or not yet
    role: Mapped[Role] = mapped_column(String(16), default="writer")
    console_role: Mapped[ConsoleRole | None] = mapped_column(
        String(16)
    )  # counts for administrators only: see `console`
    state: Mapped[UserState] = mapped_column(String(16), default="active")
    created_at: Mapped[float]
    guest_until: Mapped[float | None] = mapped_column(index=True)  # None: here to stay; see storage.guests

    @property
    def console(self) -> ConsoleRole | None:
        """What the person is in the console; None: nothing. An administrator whom the release before made was let do
        everything, as an owner is."""
        return (self.console_role or "owner") if self.role == "admin" else None


class UserQuota(Base):
    """What an owner has set for one person in place of storage.quotas' defaults; None: the default, 0: no bound."""

    __tablename__ = "user_quotas"
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    voices: Mapped[int | None]
    samples: Mapped[int | None]
    stored_mb: Mapped[int | None]
    runs: Mapped[int | None]
    tokens_per_day: Mapped[int | None]


class WebSession(Base):
    """One signed-in browser. The cookie holds the token; here is its SHA-256."""

    __tablename__ = "web_sessions"
    token_hash: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = _owner()
    browser: Mapped[str | None] = mapped_column(String(64))  # "Firefox on Linux": no more than tells one's own apart
    created_at: Mapped[float]
    last_seen_at: Mapped[float]
    expires_at: Mapped[float]


class Identity(Base):
    """By which a sign-in service knows a person: its name for them, which never changes and is nobody else's."""

    __tablename__ = "identities"
    issuer: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = _owner()
    created_at: Mapped[float]
    __table_args__ = (UniqueConstraint("user_id", "issuer"),)


class PasswordLink(Base):
    """A link with which its holder chooses a new password, once. The link holds the token; here is its SHA-256."""

    __tablename__ = "password_links"
    token_hash: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = _owner()
    created_at: Mapped[float]
    expires_at: Mapped[float]


class ApiKey(Base):
    """A bearer key of the API. Shown once; here is its SHA-256 and its first characters."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(primary_key=True)  # key-…
    user_id: Mapped[str] = _owner()
    name: Mapped[str]
    hint: Mapped[str]  # "idl-ab12…"
    # of storage.api_keys.SCOPES; None: made before there were scopes, and may do everything
    scopes: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    key_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[float]
    last_used_at: Mapped[float | None]
    revoked_at: Mapped[float | None]


class ApiUsage(Base):
    """What was asked of the API with one key, on one day, of one model. Counts, and no text."""

    __tablename__ = "api_usage"
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True, index=True)  # ISO date, UTC
    key_id: Mapped[str] = mapped_column(primary_key=True)  # storage.usage.PAGES: the person's own browser
    model: Mapped[str] = mapped_column(primary_key=True)  # empty: requests that asked for no text, or got none
    requests: Mapped[int] = mapped_column(BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    completion_tokens: Mapped[int] = mapped_column(BigInteger)


class IdempotencyKey(Base):
    """A name that a caller gave to one request, so that asking again does nothing again. Both names are HMACs under the
    owner's key; the answer is sealed."""

    __tablename__ = "idempotency_keys"
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    key_mac: Mapped[str] = mapped_column(primary_key=True)
    request_mac: Mapped[str]
    claim: Mapped[str]  # of whoever is at work; every write names its own
    claimed_until: Mapped[float]
    answer_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)  # None: not done yet
    num_bytes: Mapped[int] = mapped_column(default=0)
    expires_at: Mapped[float] = mapped_column(index=True)


class Voice(Base):
    """What a person trains: it has samples, runs and prefix versions. `active_version` points at one version."""

    __tablename__ = "voices"
    id: Mapped[str] = mapped_column(primary_key=True)  # voice-…
    user_id: Mapped[str] = _owner()
    name: Mapped[str]
    active_version: Mapped[int | None]
    created_at: Mapped[float]


class WritingSample(Base):
    """One text the person wrote."""

    __tablename__ = "writing_samples"
    id: Mapped[str] = mapped_column(primary_key=True)  # sample-…
    user_id: Mapped[str] = _owner()
    voice_id: Mapped[str] = mapped_column(ForeignKey("voices.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]  # the order in which they were given, from 0
    text_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    title_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    prompt_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    # The base model wrote the prompt. Without a prompt: none is to be made, tried in vain or cleared by its owner.
    prompt_made: Mapped[bool] = mapped_column(default=False, server_default=false())
    content_mac: Mapped[str]  # HMAC of the text under the owner's key: finds the same text twice, tells nobody else
    num_words: Mapped[int]
    num_chars: Mapped[int]
    written_on: Mapped[str | None]  # ISO date
    included: Mapped[bool] = mapped_column(default=True)
    # came out of a file and was not looked at yet; never together with included
    waiting: Mapped[bool] = mapped_column(default=False, server_default=false())
    remarks_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)  # storage.remarks.Remarks as JSON
    created_at: Mapped[float]
    __table_args__ = (UniqueConstraint("voice_id", "content_mac"),)


class Upload(Base):
    """A training file, kept as it was given: every line of it was good."""

    __tablename__ = "uploads"
    id: Mapped[str] = mapped_column(primary_key=True)  # file-…
    user_id: Mapped[str] = _owner()
    filename_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    content_sealed: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    num_bytes: Mapped[int]
    num_samples: Mapped[int]
    created_at: Mapped[float]


class TuningRun(Base):
    """One training of a voice's prefix: the row is the truth, the queue only carries its id."""

    __tablename__ = "tuning_runs"
    id: Mapped[str] = mapped_column(primary_key=True)  # run-…
    user_id: Mapped[str] = _owner()
    voice_id: Mapped[str] = mapped_column(ForeignKey("voices.id", ondelete="CASCADE"), index=True)
    state: Mapped[RunState] = mapped_column(String(16), default="queued")
    fence: Mapped[int] = mapped_column(default=0)  # goes up at each claim; every write of a worker names its own
    lease_until: Mapped[float | None]
    attempts: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    # of a run in a worker's hands; never together with cancel_requested, and gone once it is paused
    pause_requested: Mapped[bool] = mapped_column(default=False, server_default=false())
    worker: Mapped[str | None]
    sample_ids: Mapped[list[str]]  # what was included when it was asked for, in order
    continues_version: Mapped[int | None]  # of the voice; None: it starts anew. Decided by its first worker
    base_fingerprint: Mapped[str | None]  # of the model that its newest worker trains it on; None: not begun yet
    seed: Mapped[int] = mapped_column(default=0)
    step: Mapped[int] = mapped_column(default=0)
    max_steps: Mapped[int] = mapped_column(default=0)
    published: Mapped[bool | None]
    figures: Mapped[dict[str, Any]]  # tuning.evaluation.RunFigures as JSON, empty until it ends
    # what was asked for at /v1/fine_tuning/jobs, as JSON; None: it was asked for otherwise
    job_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    error_code: Mapped[str | None]
    error_message: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    __table_args__ = (
        Index("ix_tuning_runs_state_lease", "state", "lease_until"),
        # one live run a voice: a second request is answered with the first
        Index(
            "uq_tuning_runs_live_voice",
            "voice_id",
            unique=True,
            sqlite_where=text("state IN ('queued','leased','running','paused','committing')"),
            postgresql_where=text("state IN ('queued','leased','running','paused','committing')"),
        ),
    )


class TuningEvent(Base):
    """What happened in a run, for its owner. `data` of type metrics: step, train_loss, held_out_loss, base_loss."""

    __tablename__ = "tuning_events"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("tuning_runs.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[str] = _owner()
    at: Mapped[float]
    level: Mapped[Literal["info", "warn", "error"]] = mapped_column(String(8))
    type: Mapped[Literal["message", "metrics"]] = mapped_column(String(8))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]]


class TuningCheckpoint(Base):
    """The newest checkpoint of a live run; deleted when it ends."""

    __tablename__ = "tuning_checkpoints"
    run_id: Mapped[str] = mapped_column(ForeignKey("tuning_runs.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[str] = _owner()
    step: Mapped[int]
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[float]


class PrefixVersion(Base):
    """A published prefix. Rows are only deleted, with their voice or owner, and never changed but once: its
    report (tuning.voice_report.report, as JSON) is added after the publication. Of somebody's writing, that is a
    fingerprint, so it is sealed."""

    __tablename__ = "prefix_versions"
    id: Mapped[str] = mapped_column(primary_key=True)  # prefix-…
    user_id: Mapped[str] = _owner()
    voice_id: Mapped[str] = mapped_column(ForeignKey("voices.id", ondelete="CASCADE"), index=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("tuning_runs.id", ondelete="CASCADE"), unique=True)
    version: Mapped[int]  # 1, 2, 3 … within the voice
    base_fingerprint: Mapped[str]
    num_virtual_tokens: Mapped[int]
    num_bytes: Mapped[int]
    sealed: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    figures: Mapped[dict[str, Any]]
    report_sealed: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    # of which it knows anything, also by the version that it went on from; None: a release before wrote no list
    trained_sample_ids: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[float]
    __table_args__ = (UniqueConstraint("voice_id", "version"),)


class BlindTrial(Base):
    """Two columns of text shown to a person without their makers' names, and which of them they chose. None of the text
    is here, nor what it went on from."""

    __tablename__ = "blind_trials"
    id: Mapped[str] = mapped_column(primary_key=True)  # trial-…
    user_id: Mapped[str] = _owner()
    voice_id: Mapped[str] = mapped_column(ForeignKey("voices.id", ondelete="CASCADE"), index=True)
    version: Mapped[int]  # of the voice, the one in use when it began
    against: Mapped[int | None]  # another version of the voice; None: the base model
    version_first: Mapped[bool]  # whether `version` wrote the first column; drawn by lot
    strength: Mapped[float]
    choice: Mapped[TrialChoice | None] = mapped_column(String(8))  # None: not chosen yet
    created_at: Mapped[float]
    chosen_at: Mapped[float | None]


class Delivery(Base):
    """Something to be brought to a person outside these pages: what and by which way, and none of its words."""

    __tablename__ = "deliveries"
    id: Mapped[str] = mapped_column(primary_key=True)  # delivery-…; its receiver tells a second copy by it
    user_id: Mapped[str] = _owner()
    kind: Mapped[DeliveryKind] = mapped_column(String(32))
    channel: Mapped[Channel] = mapped_column(String(16))
    run_id: Mapped[str | None] = mapped_column(ForeignKey("tuning_runs.id", ondelete="CASCADE"))
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[float | None] = mapped_column(index=True)  # None: delivered, or given up
    delivered_at: Mapped[float | None]
    error: Mapped[str | None]  # what went wrong at the last attempt, in one word
    created_at: Mapped[float]
    __table_args__ = (UniqueConstraint("run_id", "channel"),)


class NoticeSettings(Base):
    """By which ways a person wants to be told that a training has ended; without a row, by none."""

    __tablename__ = "notice_settings"
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    by_mail: Mapped[bool]
    webhook_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)  # storage.notices.Webhook as JSON


__all__ = [
    "CLAIMED_STATES",
    "ENDED_STATES",
    "LIVE_STATES",
    "ApiKey",
    "ApiLatency",
    "ApiUsage",
    "AuditEvent",
    "Base",
    "BlindTrial",
    "Channel",
    "ConsoleRole",
    "Delivery",
    "DeliveryKind",
    "IdempotencyKey",
    "Identity",
    "Maintenance",
    "NoticeSettings",
    "OutboxMessage",
    "PasswordLink",
    "PrefixVersion",
    "Receipt",
    "RegisteredBaseModel",
    "Role",
    "RunState",
    "TrialChoice",
    "TuningCheckpoint",
    "TuningEvent",
    "TuningRun",
    "Upload",
    "User",
    "UserQuota",
    "UserState",
    "Voice",
    "WebSession",
    "WorkerHeartbeat",
    "WritingSample",
]
