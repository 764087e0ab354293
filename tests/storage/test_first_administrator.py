from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher

from storage import users
from storage.first_administrator import sign_up_first
from storage.store import Storage
from tests.factories import FAST_HASHER, PASSWORD


def test_of_many_at_once_one_becomes_the_first_administrator(storage: Storage) -> None:
    def follow_the_link(number: int) -> bool:
        with storage.database.session() as session:
            email = f"root{number}@example.org"
            return sign_up_first(session, storage.keys, email=email, password=PASSWORD) is not None

    with ThreadPoolExecutor(4) as many:
        assert sorted(many.map(follow_the_link, range(4))) == [False, False, False, True]
    with storage.database.reading() as session:
        assert [user.role for user in users.list_users(session)] == ["admin"]
    assert len(storage.keys.owners()) == 1


def test_the_password_is_hashed_before_the_transaction_holds_anything(storage: Storage) -> None:
    held_while_hashing = []

    class Looking(PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            held_while_hashing.append(session.in_transaction())
            return FAST_HASHER.hash(password, salt=salt)

    with storage.database.session() as session:
        assert sign_up_first(session, storage.keys, email="root@example.org", password=PASSWORD, hasher=Looking())
    assert held_while_hashing == [False]
