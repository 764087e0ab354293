"""Signed-in browsers."""

import hashlib

import pytest
from sqlalchemy import select, update

from storage import clock, users, web_sessions
from storage.errors import NotFound
from storage.models import User, WebSession
from storage.store import Storage
from tests import factories


def start(storage: Storage, user: User) -> str:
    with storage.database.session() as session:
        return web_sessions.start(session, user.id)


def found(storage: Storage, token: str) -> str | None:
    """The id of whom this token finds."""
    user = web_sessions.recognise(storage.database, web_sessions.hashed(token))
    return user.id if user else None


def test_a_token_finds_its_person_until_it_is_ended(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    token, another = start(storage, user), start(storage, other)
    assert found(storage, token) == user.id
    with storage.database.session() as session:
        web_sessions.end(session, token)
    assert found(storage, token) is None
    assert found(storage, another) == other.id


def test_nonsense_finds_nobody(storage: Storage) -> None:
    for token in ("", "x", "\udcff", "ü" * 500):
        assert found(storage, token) is None


def test_only_the_hash_is_kept(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        token = web_sessions.start(session, user.id)
        row = session.scalars(select(WebSession)).one()
        assert row.token_hash == hashlib.sha256(token.encode()).hexdigest()
        assert abs(row.expires_at - clock.now() - 14 * 24 * 3600) < 60


def test_an_expired_session_finds_nobody_and_is_cleared_at_the_next_sign_in(storage: Storage) -> None:
    user = factories.make_user(storage)
    token = start(storage, user)
    with storage.database.session() as session:
        session.execute(update(WebSession).values(expires_at=clock.now() - 1))
    assert found(storage, token) is None
    start(storage, user)
    with storage.database.reading() as session:
        assert len(session.scalars(select(WebSession)).all()) == 1


@pytest.mark.parametrize(("ago", "written"), [(30.0, False), (90.0, True)])
def test_being_seen_is_written_at_most_once_a_minute(storage: Storage, ago: float, written: bool) -> None:
    user = factories.make_user(storage)
    token = start(storage, user)
    before = clock.now() - ago
    with storage.database.session() as session:
        session.execute(update(WebSession).values(last_seen_at=before))
    assert found(storage, token) == user.id
    with storage.database.reading() as session:
        seen = session.scalars(select(WebSession.last_seen_at)).one()
    assert (seen != before) is written


@pytest.mark.parametrize(
    ("used", "lasts"),
    [
        ((), 14),
        ((13,), 27),
        ((13, 26, 39, 52, 65, 78), 90),  # by then at the latest
        ((13, 26, 39, 52, 65, 78, 89.9), 90),
    ],
)
def test_a_session_lasts_while_it_is_used_and_ninety_days_at_most(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, used: tuple[float, ...], lasts: float
) -> None:
    began, user = clock.now(), factories.make_user(storage)
    monkeypatch.setattr(clock, "now", lambda: began)
    token = start(storage, user)

    def found_after(days: float) -> str | None:
        monkeypatch.setattr(clock, "now", lambda: began + days * 24 * 3600)
        return found(storage, token)

    assert [found_after(days) for days in used] == [user.id] * len(used)
    assert found_after(lasts + 0.01) is None
    assert found_after(lasts - 0.01) == user.id


def test_ending_all_ends_only_ones_own(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    mine, theirs = [start(storage, user) for _ in range(2)], start(storage, other)
    with storage.database.session() as session:
        web_sessions.end_all(session, user.id)
    assert [found(storage, token) for token in mine] == [None, None]
    assert found(storage, theirs) == other.id


def test_a_suspended_person_is_not_signed_in(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        users.set_state(session, user.id, "suspended")
    assert found(storage, start(storage, user)) is None


def test_one_of_ones_own_is_ended_by_its_id_and_nobody_elses(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    kept, lost, theirs = start(storage, user), start(storage, user), start(storage, other)
    with storage.database.session() as session:
        listed = web_sessions.list_sessions(session, user.id, kept)
        assert [signed_in.mine for signed_in in listed] == [True, False]
        with pytest.raises(NotFound):
            web_sessions.end_one(session, other.id, listed[1].id)
        web_sessions.end_one(session, user.id, listed[1].id)
        with pytest.raises(NotFound):
            web_sessions.end_one(session, user.id, listed[1].id)
    assert [found(storage, token) for token in (kept, lost, theirs)] == [user.id, None, other.id]


def test_all_others_are_ended_and_counted(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    kept, *lost = [start(storage, user) for _ in range(3)]
    theirs = start(storage, other)
    with storage.database.session() as session:
        assert web_sessions.end_others(session, user.id, kept) == 2
        assert web_sessions.end_others(session, user.id, kept) == 0
    assert [found(storage, token) for token in (kept, *lost, theirs)] == [user.id, None, None, other.id]
