from concurrent.futures import ThreadPoolExecutor

from storage import users
from storage.first_administrator import sign_up_first
from storage.store import Storage
from tests.factories import PASSWORD


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
