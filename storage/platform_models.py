"""The tables of the platform itself, whose rows are nobody's: workers, models, messages, the trail and what outlives an
account. storage.models has those that belong to a person, and offers these with them."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, false
from sqlalchemy.orm import Mapped, mapped_column

from storage.table import Base


class ApiLatency(Base):
    """How many answers of the API took at most so long, in one hour. Nobody's in particular."""

    __tablename__ = "api_latency"
    hour: Mapped[str] = mapped_column(String(13), primary_key=True)  # "2026-11-26T05", UTC
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)  # of storage.latency.Kind
    upto_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    answers: Mapped[int] = mapped_column(BigInteger)


class OutboxMessage(Base):
    """A queue message that must be sent; written in the transaction of what it announces."""

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("tuning_runs.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[float]
    sent_at: Mapped[float | None] = mapped_column(index=True)


class RegisteredBaseModel(Base):
    """A base model the probe accepted. The current one is the newest `last_seen_at`."""

    __tablename__ = "base_models"
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    num_parameters: Mapped[int] = mapped_column(BigInteger)
    context_length: Mapped[int]
    probe: Mapped[dict[str, Any]]
    has_chat_template: Mapped[bool] = mapped_column(default=False, server_default=false())  # takes requests
    registered_at: Mapped[float]
    last_seen_at: Mapped[float]


class WorkerHeartbeat(Base):
    """A worker process that has been seen lately."""

    __tablename__ = "workers"
    name: Mapped[str] = mapped_column(primary_key=True)
    started_at: Mapped[float]
    last_seen_at: Mapped[float]
    run_id: Mapped[str | None]


class Maintenance(Base):
    """At most one row, of id 1: while it is there, no worker takes a run up."""

    __tablename__ = "maintenance"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    since: Mapped[float]
    reason: Mapped[str]  # one line, shown to everybody
    actor_id: Mapped[str]


class AuditEvent(Base):
    """Who did what to whom. Append only; outlives the people it names, and never holds their text or address, but ids,
    states, numbers and the reasons that administrators gave."""

    __tablename__ = "audit_events"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[float] = mapped_column(index=True)
    actor_id: Mapped[str | None]  # None: the platform itself
    action: Mapped[str]  # "user.signed_up", "run.cancelled", …
    subject_id: Mapped[str | None] = mapped_column(index=True)
    detail: Mapped[dict[str, Any]]


class Receipt(Base):
    """That an account was erased, and how many rows of each table went with it. Outlives it, as the trail does."""

    __tablename__ = "receipts"
    id: Mapped[str] = mapped_column(primary_key=True)  # receipt-…; who has it may look at it
    user_id: Mapped[str] = mapped_column(index=True)
    removed: Mapped[dict[str, Any]]  # table -> rows
    at: Mapped[float]
