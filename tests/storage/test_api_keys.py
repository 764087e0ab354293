"""Bearer keys."""

import pytest
from sqlalchemy import select, update

from storage import api_keys, audit, clock, users
from storage.errors import LimitReached, NotFound
from storage.models import ApiKey
from storage.store import Storage
from tests import factories


def test_a_secret_proves_its_owner_and_is_not_stored(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        key, secret = api_keys.create_key(session, user.id, "  my   laptop ")
        found = api_keys.authenticate(session, secret)
        assert found is not None
        assert (found[0].id, found[1].id) == (key.id, user.id)
        assert key.name == "my laptop"
        assert secret.startswith("idl-")
        assert key.hint == secret[:8] + "…"
        assert secret not in repr(vars(session.scalars(select(ApiKey)).one()))


def test_a_key_keeps_the_scopes_it_was_made_with_and_one_from_before_there_were_any_has_all(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        assert api_keys.scopes_of(api_keys.create_key(session, user.id, "all")[0]) == api_keys.SCOPES
        some, _ = api_keys.create_key(session, user.id, "some", ["read", "generate"])
        old, _ = api_keys.create_key(session, user.id, "old")
        session.execute(update(ApiKey).where(ApiKey.id == old.id).values(scopes=None))
    with storage.database.reading() as session:
        kept = {key.id: api_keys.scopes_of(key) for key in api_keys.list_keys(session, user.id)}
    assert kept[some.id] == ("generate", "read")
    assert kept[old.id] == api_keys.SCOPES
    for wrong in ([], ["everything"], ["read", "READ"]):
        with pytest.raises(ValueError, match="one or more"), storage.database.session() as session:
            api_keys.create_key(session, user.id, "wrong", wrong)


@pytest.mark.parametrize("secret", ["", "idl-", "idl-wrong", "sk-other", "\udcff"])
def test_a_wrong_secret_proves_nobody(storage: Storage, secret: str) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        api_keys.create_key(session, user.id, "laptop")
        assert api_keys.authenticate(session, secret) is None


def test_a_revoked_key_proves_nobody_and_stays_listed(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        key, secret = api_keys.create_key(session, user.id, "laptop")
        first = api_keys.revoke_key(session, user.id, key.id, actor_id="user-admin").revoked_at
        assert api_keys.revoke_key(session, user.id, key.id, actor_id=user.id).revoked_at == first
        (event,) = audit.list_events(session, action="key.revoked")
        assert (event.actor_id, event.subject_id, event.detail) == ("user-admin", user.id, {"key_id": key.id})
        assert api_keys.authenticate(session, secret) is None
        assert [listed.id for listed in api_keys.list_keys(session, user.id)] == [key.id]


def test_a_suspended_owner_has_no_working_key(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        _, secret = api_keys.create_key(session, user.id, "laptop")
        users.set_state(session, user.id, "suspended")
        assert api_keys.authenticate(session, secret) is None


def test_being_used_is_due_to_be_written_at_most_once_a_minute(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        _, secret = api_keys.create_key(session, user.id, "laptop")
    for ago, due in ((None, True), (30.0, False), (90.0, True)):
        with storage.database.session() as session:
            session.execute(update(ApiKey).values(last_used_at=None if ago is None else clock.now() - ago))
        with storage.database.reading() as session:
            found = api_keys.authenticate(session, secret)
        assert found is not None
        assert api_keys.is_touch_due(found[0]) is due
    with storage.database.session() as session:
        api_keys.touch(session, found[0].id)
    with storage.database.reading() as session:
        found = api_keys.authenticate(session, secret)
    assert found is not None
    assert not api_keys.is_touch_due(found[0])


def test_a_person_has_twenty_keys_at_most_and_revoked_ones_do_not_count(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        keys = [api_keys.create_key(session, user.id, f"key {number}")[0] for number in range(20)]
        with pytest.raises(LimitReached, match="revoke one"):
            api_keys.create_key(session, user.id, "one more")
        api_keys.revoke_key(session, user.id, keys[0].id, actor_id=user.id)
        api_keys.create_key(session, user.id, "one more")


def test_another_persons_key_is_not_found(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    with storage.database.session() as session:
        key, secret = api_keys.create_key(session, user.id, "laptop")
        with pytest.raises(NotFound):
            api_keys.revoke_key(session, other.id, key.id, actor_id=other.id)
        assert api_keys.list_keys(session, other.id) == []
        assert api_keys.authenticate(session, secret) is not None
