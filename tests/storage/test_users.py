"""Accounts: signing up, proving a password, states and roles."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import text

from storage import audit, passwords, users, voices, web_sessions
from storage.errors import Conflict, InvalidAccount, NotFound
from storage.models import User, UserState
from storage.store import Storage
from tests import factories
from tests.factories import FAST_HASHER, PASSWORD


def verify(storage: Storage, email: str, password: str) -> str | None:
    """The id of whom these two open."""
    with storage.database.session() as session:
        user = users.verify_password(session, email, password, hasher=FAST_HASHER)
        return user.id if user else None


def test_signing_up_makes_an_account_a_key_and_a_first_voice(storage: Storage) -> None:
    user = factories.make_user(storage, "  Ada@Example.ORG ")
    assert (user.email, user.role, user.state) == ("ada@example.org", "writer", "active")
    assert len(storage.keys.data_key(user.id)) == 32
    with storage.database.session() as session:
        assert [voice.name for voice in voices.list_voices(session, user.id)] == ["My voice"]


def test_the_password_is_not_stored(storage: Storage) -> None:
    user = factories.make_user(storage, "ada@example.org")
    assert PASSWORD not in user.password_hash
    assert user.password_hash.startswith("$argon2id$")


def test_an_address_is_taken_whatever_its_case_and_its_key_is_left_alone(storage: Storage) -> None:
    first = factories.make_user(storage, "ada@example.org")
    key = storage.keys.data_key(first.id)
    with pytest.raises(Conflict, match="sign in"):
        factories.make_user(storage, "ADA@example.org")
    assert storage.keys.data_key(first.id) == key
    assert verify(storage, "ada@example.org", PASSWORD) == first.id


@pytest.mark.parametrize("email", ["a:;@b.de", "=?utf-8?q?=0a?=@b.de", "<ada@b.de", "ada@b.de>", '"a"@b.de', "a,b@c.de", "a\\@b.de", "(x)a@b.de", "a@[::1].de"])  # fmt: skip  # noqa: E501
def test_what_no_letter_could_be_addressed_to_is_refused(storage: Storage, email: str) -> None:
    with pytest.raises(InvalidAccount, match=r"name@example\.org"):
        factories.make_user(storage, email)


@pytest.mark.parametrize("email", ["", "ada", "ada@", "@example.org", "a b@example.org", "ada@example", "ada@ex\u200bample.org", "a" * 250 + "@x.org"])  # fmt: skip  # noqa: E501
def test_what_is_no_address_is_refused(storage: Storage, email: str) -> None:
    with pytest.raises(InvalidAccount, match=r"name@example\.org"):
        factories.make_user(storage, email)


@pytest.mark.parametrize(("password", "sentence"), [("short", "at least 10"), ("x" * 1001, "at most 1000")])
def test_a_password_of_the_wrong_length_is_refused(storage: Storage, password: str, sentence: str) -> None:
    with pytest.raises(InvalidAccount, match=sentence):
        factories.make_user(storage, "ada@example.org", password=password)


def test_the_right_pair_opens_and_no_other(storage: Storage) -> None:
    user = factories.make_user(storage, "ada@example.org")
    assert verify(storage, " ADA@example.org", PASSWORD) == user.id
    assert verify(storage, "ada@example.org", PASSWORD + "!") is None
    assert verify(storage, "ada@example.org", "") is None
    assert verify(storage, "eve@example.org", PASSWORD) is None


def test_an_unknown_address_takes_as_long_as_a_known_one(sqlite_storage: Storage) -> None:
    user = factories.make_user(sqlite_storage, "ada@example.org")
    with sqlite_storage.database.session() as session:
        users.change_password(session, user.id, PASSWORD)

    def seconds(email: str) -> float:
        began = time.thread_time()
        verify(sqlite_storage, email, "wrong password")
        return time.thread_time() - began

    known, unknown = (min(seconds(email) for _ in range(2)) for email in ("ada@example.org", "eve@example.org"))
    assert 0.5 < known / unknown < 2


def test_a_hash_of_weaker_settings_is_renewed_at_the_next_sign_in(storage: Storage) -> None:
    user = factories.make_user(storage, "ada@example.org")
    with storage.database.session() as session:
        assert users.verify_password(session, "ada@example.org", PASSWORD)
    with storage.database.session() as session:
        renewed = users.get_user(session, user.id).password_hash
    assert renewed != user.password_hash
    assert not passwords.HASHER.check_needs_rehash(renewed)


def test_hashing_does_not_hold_the_database(storage: Storage) -> None:
    factories.make_user(storage, "ada@example.org")
    with storage.database.session() as session:
        users.verify_password(session, "ada@example.org", "wrong password", hasher=FAST_HASHER)
        assert not session.in_transaction()


def test_a_new_password_replaces_the_old_one(storage: Storage) -> None:
    user = factories.make_user(storage, "ada@example.org")
    with storage.database.session() as session:
        users.change_password(session, user.id, "another long one", hasher=FAST_HASHER)
    assert verify(storage, "ada@example.org", PASSWORD) is None
    assert verify(storage, "ada@example.org", "another long one") == user.id


def test_suspending_ends_every_browser_session_and_can_be_lifted(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        token_hash = web_sessions.hashed(web_sessions.start(session, user.id))
    states: tuple[UserState, ...] = ("suspended", "active")
    for state in states:
        with storage.database.session() as session:
            users.set_state(session, user.id, state)
        assert web_sessions.recognise(storage.database, token_hash) is None
    assert verify(storage, user.email, PASSWORD) == user.id


def test_the_last_active_owner_stays(storage: Storage) -> None:
    with storage.database.session() as session:
        assert not users.has_admin(session)
    first, second = (factories.make_user(storage, role="admin") for _ in range(2))
    with storage.database.session() as session:
        assert users.has_admin(session)
        users.set_state(session, first.id, "suspended")
    with pytest.raises(Conflict, match="only active owner"), storage.database.session() as session:
        users.set_state(session, second.id, "suspended")
    with storage.database.session() as session:
        users.set_state(session, first.id, "active")
        assert users.set_state(session, second.id, "suspended").state == "suspended"


def test_a_writer_becomes_an_administrator_and_the_last_one_stays_one(storage: Storage) -> None:
    first, second = factories.make_user(storage, role="admin"), factories.make_user(storage)
    with (
        pytest.raises(Conflict, match="Make somebody else an owner first"),
        storage.database.session() as session,
    ):
        users.set_console_role(session, first.id, None)
    with storage.database.session() as session:
        assert users.set_console_role(session, second.id, "owner").console == "owner"
    with storage.database.session() as session:
        assert users.set_console_role(session, first.id, None).role == "writer"


def test_nobody_becomes_an_administrator_while_suspended(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        users.set_state(session, user.id, "suspended")
    with pytest.raises(Conflict, match="Let them back in first"), storage.database.session() as session:
        users.set_console_role(session, user.id, "owner")
    with storage.database.session() as session:
        assert users.get_user(session, user.id).role == "writer"
        users.set_state(session, user.id, "active")
        assert users.set_console_role(session, user.id, "owner").console == "owner"


def test_of_two_administrators_who_demote_each_other_at_once_one_stays(storage: Storage) -> None:
    both, together = [factories.make_user(storage, role="admin") for _ in range(2)], Barrier(2)

    def demote(user: User) -> bool:
        with storage.database.session() as session:
            if not storage.database.is_sqlite:  # where the second can only begin when the first is over
                users.get_user(session, user.id)
                together.wait(30)
            try:
                return users.set_console_role(session, user.id, None).role == "writer"
            except Conflict:
                return False

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(demote, both)) == [False, True]
    with storage.database.reading() as session:
        assert sorted(user.role for user in users.list_users(session)) == ["admin", "writer"]


def test_users_are_listed_newest_first_page_by_page_and_by_part_of_the_address(storage: Storage) -> None:
    made = [factories.make_user(storage, f"{name}@example.org") for name in ("ada", "b_b", "bxb", "cleo")]
    with storage.database.session() as session:
        everyone = [user.id for user in users.list_users(session)]
        assert everyone == [user.id for user in reversed(made)]
        page = users.list_users(session, limit=2)
        assert [user.id for user in users.list_users(session, after=page[-1].id)] == everyone[2:]
        assert [user.email for user in users.list_users(session, query="B_B")] == ["b_b@example.org"]
        assert [user.id for user in users.list_users(session, query=made[0].id)] == [made[0].id]
        with pytest.raises(NotFound):
            users.list_users(session, after="user-nobody")


def test_an_operator_or_an_auditor_takes_no_owners_place(storage: Storage) -> None:
    owner, operator, auditor = (factories.make_user(storage, role="admin") for _ in range(3))
    with storage.database.session() as session:
        assert owner.console == "owner"
        assert users.set_console_role(session, operator.id, "operator").console == "operator"
        assert users.set_console_role(session, auditor.id, "auditor").console == "auditor"
    for role in (None, "operator", "auditor"):
        with pytest.raises(Conflict, match="only active owner"), storage.database.session() as session:
            users.set_console_role(session, owner.id, role)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="only active owner"):
        users.erase_user(storage, owner.id, owner.id)
    with storage.database.session() as session:  # neither of these two is an owner, so both may go
        users.set_state(session, operator.id, "suspended")
        users.set_console_role(session, auditor.id, None)


def test_whom_the_release_before_makes_an_administrator_is_an_owner_and_may_be_the_last(storage: Storage) -> None:
    chief, user = factories.make_user(storage, role="admin"), factories.make_user(storage)
    with storage.database.session() as session:
        session.execute(text("UPDATE users SET role = 'admin' WHERE id = :id"), {"id": user.id})
    with storage.database.session() as session:
        assert users.get_user(session, user.id).console == "owner"
        users.set_console_role(session, chief.id, "auditor")
    with pytest.raises(Conflict, match="only active owner"), storage.database.session() as session:
        users.set_console_role(session, user.id, "auditor")


def test_a_writer_is_nothing_in_the_console_whatever_the_column_says(storage: Storage) -> None:
    factories.make_user(storage, role="admin")
    user = factories.make_user(storage, role="admin")
    with storage.database.session() as session:  # as the release before takes a role away
        session.execute(text("UPDATE users SET role = 'writer' WHERE id = :id"), {"id": user.id})
    with storage.database.reading() as session:
        assert users.get_user(session, user.id).console is None


def test_unknown_accounts_are_not_found(storage: Storage) -> None:
    with storage.database.session() as session:
        for ask in (
            users.get_user,
            lambda s, i: users.set_state(s, i, "active"),
            lambda s, i: users.set_console_role(s, i, "owner"),
        ):
            with pytest.raises(NotFound):
                ask(session, "user-nobody")


def test_the_trail_names_ids_and_never_the_address(storage: Storage) -> None:
    user = factories.make_user(storage, "ada@example.org")
    with storage.database.session() as session:
        (event,) = audit.list_events(session)
    assert (event.action, event.actor_id, event.subject_id, event.detail) == ("user.signed_up", user.id, user.id, {"role": "writer"})  # fmt: skip  # noqa: E501
