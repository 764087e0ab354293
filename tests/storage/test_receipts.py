"""What an erasure leaves to look at: counts, and whether it still holds."""

import pytest
from sqlalchemy import insert

from storage import receipts, users
from storage.errors import NotFound
from storage.models import User
from storage.store import Storage
from tests import factories


def erased(storage: Storage) -> tuple[User, str]:
    user = factories.make_user(storage, "ada@example.org")
    factories.publish(storage, user, factories.first_voice(storage, user))
    receipt = users.erase_user(storage, user.id, user.id)
    assert receipt is not None
    return user, receipt.id


def test_it_says_how_many_of_each_kind_went_and_nothing_of_them(storage: Storage) -> None:
    bystander = factories.make_user(storage)
    factories.add_samples(storage, bystander, factories.first_voice(storage, bystander))
    user, receipt_id = erased(storage)
    receipt = receipts.look_up(storage, receipt_id).receipt
    counted = {name: receipt.removed[name] for name in ("voices", "writing_samples", "tuning_runs", "prefix_versions")}
    assert counted == {"voices": 1, "writing_samples": 5, "tuning_runs": 1, "prefix_versions": 1}
    assert receipt.user_id == user.id
    assert "ada" not in repr(vars(receipt))


def test_it_holds_until_something_comes_back(storage: Storage) -> None:
    user, receipt_id = erased(storage)
    assert receipts.look_up(storage, receipt_id).holds
    storage.keys.create(user.id)
    standing = receipts.look_up(storage, receipt_id)
    assert (standing.holds, standing.rows_now, standing.key_now) == (False, 0, True)
    storage.keys.erase(user.id)
    row = {"id": user.id, "email": "x@example.org", "password_hash": "", "role": "writer", "state": "active"}
    with storage.database.session() as session:
        session.execute(insert(User), {**row, "created_at": 1.0})
    factories.make_voice(storage, user)
    standing = receipts.look_up(storage, receipt_id)
    assert (standing.holds, standing.rows_now, standing.key_now) == (False, 2, False)


@pytest.mark.parametrize("receipt_id", ["", "receipt-made-up", "\x00", "\ud800", "%"])
def test_a_number_that_was_made_up_is_not_found(storage: Storage, receipt_id: str) -> None:
    erased(storage)
    with pytest.raises(NotFound):
        receipts.look_up(storage, receipt_id)


def test_an_erasure_that_is_refused_or_only_finished_writes_none(storage: Storage) -> None:
    user = factories.make_user(storage)
    storage.keys.create("user-half-gone")
    assert users.erase_user(storage, "user-half-gone", None) is None
    assert users.erase_user(storage, user.id, None) is not None
