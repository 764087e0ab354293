"""Counts and sizes for the console. Numbers only: no one's text, titles or addresses."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import Session

from storage.models import Base, PrefixVersion, RunState, TuningRun, User, Voice, WritingSample


@dataclass(frozen=True)
class Overview:
    """The platform at a glance. Bytes: of the whole database, and of published prefixes (in clear)."""

    users: int
    suspended_users: int
    voices: int
    trained_voices: int
    samples: int
    versions: int
    runs_by_state: dict[RunState, int]  # states that occur
    queued: int
    oldest_queued_at: float | None  # epoch seconds
    storage_bytes: int
    prefix_bytes: int

    @property
    def runs(self) -> int:
        """All runs, ended ones too."""
        return sum(self.runs_by_state.values())


@dataclass(frozen=True)
class UserHoldings:
    """How much one person keeps here. Bytes: sealed texts are counted by their characters."""

    voices: int
    samples: int
    words: int
    characters: int
    runs: int
    versions: int
    prefix_bytes: int


def read_overview(session: Session) -> Overview:
    """Count everything."""
    states = session.execute(select(TuningRun.state, func.count()).group_by(TuningRun.state))
    by_state: dict[RunState, int] = {row[0]: row[1] for row in states}
    return Overview(
        users=_count(session, User),
        suspended_users=_count(session, User, User.state == "suspended"),
        voices=_count(session, Voice),
        trained_voices=_count(session, Voice, Voice.active_version.is_not(None)),
        samples=_count(session, WritingSample),
        versions=_count(session, PrefixVersion),
        runs_by_state=by_state,
        queued=by_state.get("queued", 0),
        oldest_queued_at=session.scalar(select(func.min(TuningRun.created_at)).where(TuningRun.state == "queued")),
        storage_bytes=_database_bytes(session),
        prefix_bytes=_sum(session, PrefixVersion.num_bytes),
    )


def read_holdings(session: Session, user_id: str) -> UserHoldings:
    """Count what one person has; zeros for an unknown id."""
    return UserHoldings(
        voices=_count(session, Voice, Voice.user_id == user_id),
        samples=_count(session, WritingSample, WritingSample.user_id == user_id),
        words=_sum(session, WritingSample.num_words, WritingSample.user_id == user_id),
        characters=_sum(session, WritingSample.num_chars, WritingSample.user_id == user_id),
        runs=_count(session, TuningRun, TuningRun.user_id == user_id),
        versions=_count(session, PrefixVersion, PrefixVersion.user_id == user_id),
        prefix_bytes=_sum(session, PrefixVersion.num_bytes, PrefixVersion.user_id == user_id),
    )


def _count(session: Session, table: type[Base], *where: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*where)) or 0


def _sum(session: Session, column: object, *where: ColumnElement[bool]) -> int:
    return int(session.scalar(select(func.coalesce(func.sum(column), 0)).where(*where)) or 0)


def _database_bytes(session: Session) -> int:
    if session.get_bind().dialect.name == "sqlite":
        size = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    else:
        size = "SELECT pg_database_size(current_database())"
    return int(session.scalar(text(size)) or 0)
