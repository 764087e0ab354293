"""By which service, and under which name, a person is known."""

import pytest

from storage import identities, users
from storage.errors import Conflict, InvalidAccount, NotFound
from storage.models import User
from storage.store import Storage
from tests import factories

ISSUER = "https://id.example"


def sign_up(storage: Storage, subject: str, email: str) -> User:
    with storage.database.session() as session:
        return identities.sign_up(session, storage.keys, issuer=ISSUER, subject=subject, email=email)


def connect(storage: Storage, user: User, subject: str, issuer: str = ISSUER) -> None:
    with storage.database.session() as session:
        identities.connect(session, user.id, issuer, subject)


def found(storage: Storage, subject: str, issuer: str = ISSUER) -> str | None:
    with storage.database.reading() as session:
        user = identities.find_user(session, issuer, subject)
    return user.id if user else None


def test_a_name_leads_to_its_account_at_its_own_service_only(storage: Storage) -> None:
    user = sign_up(storage, "s-1", "ada@example.org")
    assert found(storage, "s-1") == user.id
    assert found(storage, "S-1") is None
    assert found(storage, "s-1", "https://other.example") is None
    assert storage.keys.data_key(user.id)


def test_an_account_that_is_there_is_never_taken_over(storage: Storage) -> None:
    factories.make_user(storage, "ada@example.org")
    with pytest.raises(Conflict):
        sign_up(storage, "s-1", "Ada@example.org")
    with pytest.raises(InvalidAccount):
        sign_up(storage, "s-1", "nonsense")
    assert found(storage, "s-1") is None


def test_one_name_one_account_and_one_account_one_name(storage: Storage) -> None:
    ada, bob = factories.make_user(storage), factories.make_user(storage)
    connect(storage, ada, "s-1")
    connect(storage, ada, "s-1")
    for user, subject in ((bob, "s-1"), (ada, "s-2")):
        with pytest.raises(Conflict):
            connect(storage, user, subject)
    connect(storage, ada, "s-1", "https://other.example")
    assert (found(storage, "s-1"), found(storage, "s-2")) == (ada.id, None)


def test_disconnecting_leaves_a_way_in(storage: Storage) -> None:
    ada, eve = factories.make_user(storage), sign_up(storage, "s-eve", "eve@example.org")
    connect(storage, ada, "s-1")
    with storage.database.session() as session:
        identities.disconnect(session, ada.id, ISSUER)
        for user_id, wrong in ((ada.id, NotFound), (eve.id, Conflict)):
            with pytest.raises(wrong):
                identities.disconnect(session, user_id, ISSUER)
    assert (found(storage, "s-1"), found(storage, "s-eve")) == (None, eve.id)


def test_no_password_opens_an_account_without_one(storage: Storage) -> None:
    sign_up(storage, "s-1", "ada@example.org")
    for password in ("", " ", factories.PASSWORD):
        with storage.database.session() as session:
            assert users.verify_password(session, "ada@example.org", password, hasher=factories.FAST_HASHER) is None
