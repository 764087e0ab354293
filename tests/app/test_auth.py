"""Who a bearer is: a person's key, or the web role's token for a signed-in person."""

import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.auth import GATEWAY_SECONDS, Caller, authenticate, issue_gateway_token, still_proves
from storage import api_keys, users, web_sessions
from storage.store import Storage
from tests import factories
from tests.waiting import READS, transactions


@pytest.fixture
def user_id(storage: Storage) -> str:
    return factories.make_user(storage).id


def session_of(storage: Storage, user_id: str) -> str:
    with storage.database.session() as session:
        return web_sessions.start(session, user_id)


def test_a_key_is_its_owner_until_it_is_revoked(storage: Storage, user_id: str) -> None:
    with storage.database.session() as session:
        key, secret = api_keys.create_key(session, user_id, "laptop")
    assert authenticate(storage, f"Bearer {secret}") == Caller(user_id, key.id, "key", api_keys.SCOPES)
    assert authenticate(storage, f"bearer  {secret} ") == Caller(user_id, key.id, "key", api_keys.SCOPES)
    with storage.database.session() as session:
        api_keys.revoke_key(session, user_id, key.id, actor_id=user_id)
    assert authenticate(storage, f"Bearer {secret}") is None


def test_a_gateway_token_is_its_person_while_they_are_signed_in(storage: Storage, user_id: str) -> None:
    signed_in = session_of(storage, user_id)
    token = issue_gateway_token(storage, user_id=user_id, session_token=signed_in)
    assert token.startswith("gw-")
    assert signed_in not in token
    found = authenticate(storage, f"Bearer {token}")
    assert found is not None
    assert (found.user_id, found.kind, found.scopes) == (user_id, "gateway", ("generate",))
    with storage.database.session() as session:
        web_sessions.end(session, signed_in)
    assert authenticate(storage, f"Bearer {token}") is None


def test_a_gateway_token_lives_two_minutes(storage: Storage, user_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    token = issue_gateway_token(storage, user_id=user_id, session_token=session_of(storage, user_id))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + GATEWAY_SECONDS + 2)
    assert authenticate(storage, f"Bearer {token}") is None
    assert still_proves(storage, f"Bearer {token}")  # an answer that began in time
    with storage.database.session() as session:
        web_sessions.end_all(session, user_id)
    assert not still_proves(storage, f"Bearer {token}")


def test_nobody_waits_for_a_writer_to_be_recognised(storage: Storage, user_id: str) -> None:
    with storage.database.session() as session:
        _, secret = api_keys.create_key(session, user_id, "laptop")
    token = issue_gateway_token(storage, user_id=user_id, session_token=session_of(storage, user_id))
    bearers = (f"Bearer {secret}", f"Bearer {token}")
    assert all(authenticate(storage, bearer) for bearer in bearers)  # writes down that the key is in use
    with storage.database.session() as writer:
        writer.execute(text("UPDATE users SET state = state"))
        with transactions(storage.database) as begun:  # the writer goes on until all of them are over
            assert all(authenticate(storage, bearer) for bearer in bearers)
    assert begun == [READS] * 2


def test_a_key_is_good_though_its_use_cannot_be_written_down(
    storage: Storage, user_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage.database.session() as session:
        _, secret = api_keys.create_key(session, user_id, "laptop")

    def locked(*_: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("database is locked"))

    monkeypatch.setattr(api_keys, "touch", locked)
    assert authenticate(storage, f"Bearer {secret}") is not None


def test_a_gateway_token_cannot_be_altered_or_bound_to_another_session(storage: Storage, user_id: str) -> None:
    other = factories.make_user(storage).id
    crossed = issue_gateway_token(storage, user_id=user_id, session_token=session_of(storage, other))
    good = issue_gateway_token(storage, user_id=user_id, session_token=session_of(storage, user_id))
    altered = good[:-2] + ("A" if good[-2] != "A" else "B") + good[-1]  # the last character's lowest bits say nothing
    for token in (crossed, altered, good[:-8], "gw-", "gw-a.b.c"):
        assert authenticate(storage, f"Bearer {token}") is None


def test_a_suspended_person_is_nobody(storage: Storage, user_id: str) -> None:
    with storage.database.session() as session:
        _, secret = api_keys.create_key(session, user_id, "laptop")
    token = issue_gateway_token(storage, user_id=user_id, session_token=session_of(storage, user_id))
    with storage.database.session() as session:
        users.set_state(session, user_id, "suspended")
    assert authenticate(storage, f"Bearer {secret}") is None
    assert authenticate(storage, f"Bearer {token}") is None


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer é", "Bearer " + "x" * 5000])
def test_anything_else_is_nobody(storage: Storage, header: str | None) -> None:
    assert authenticate(storage, header) is None
