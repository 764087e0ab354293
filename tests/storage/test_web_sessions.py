"""Signed-in browsers."""

import hashlib

from sqlalchemy import select, update

from storage import clock, users, web_sessions
from storage.models import WebSession
from storage.store import Storage
from tests import factories


def test_a_token_finds_its_person_until_it_is_ended(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    with storage.database.session() as session:
        token, another = web_sessions.start(session, user.id), web_sessions.start(session, other.id)
        found = web_sessions.find(session, token)
        assert found is not None
        assert found.id == user.id
        by_hash = web_sessions.find_by_hash(session, hashlib.sha256(token.encode()).hexdigest())
        assert by_hash is not None
        assert by_hash[1] is found
        web_sessions.end(session, token)
        assert web_sessions.find(session, token) is None
        assert web_sessions.find(session, another) is not None


def test_nonsense_finds_nobody(storage: Storage) -> None:
    with storage.database.session() as session:
        for token in ("", "x", "\udcff", "ü" * 500):
            assert web_sessions.find(session, token) is None


def test_only_the_hash_is_kept(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        token = web_sessions.start(session, user.id)
        row = session.scalars(select(WebSession)).one()
        assert row.token_hash == hashlib.sha256(token.encode()).hexdigest()
        assert abs(row.expires_at - clock.now() - 14 * 24 * 3600) < 60


def test_an_expired_session_finds_nobody_and_is_cleared_at_the_next_sign_in(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        token = web_sessions.start(session, user.id)
        session.execute(update(WebSession).values(expires_at=clock.now() - 1))
        assert web_sessions.find(session, token) is None
        web_sessions.start(session, user.id)
        assert len(session.scalars(select(WebSession)).all()) == 1


def test_being_seen_is_written_at_most_once_a_minute(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        token = web_sessions.start(session, user.id)
        for ago, touched in ((30.0, False), (90.0, True)):
            before = clock.now() - ago
            session.execute(update(WebSession).values(last_seen_at=before))
            web_sessions.find(session, token)
            seen = session.scalars(select(WebSession.last_seen_at)).one()
            assert (seen != before) is touched


def test_ending_all_ends_only_ones_own(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    with storage.database.session() as session:
        mine = [web_sessions.start(session, user.id) for _ in range(2)]
        theirs = web_sessions.start(session, other.id)
        web_sessions.end_all(session, user.id)
        assert [web_sessions.find(session, token) for token in mine] == [None, None]
        assert web_sessions.find(session, theirs) is not None


def test_a_suspended_person_is_not_signed_in(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        users.set_state(session, user.id, "suspended")
        token = web_sessions.start(session, user.id)
        assert web_sessions.find(session, token) is None
