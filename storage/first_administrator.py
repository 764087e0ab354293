"""The first administrator: made once, even when two people follow the link at the same moment."""

from argon2 import PasswordHasher
from sqlalchemy import text
from sqlalchemy.orm import Session

from storage import passwords, users
from storage.keys import KeyStore
from storage.models import User

# Conflicts with itself and with every writer of users; readers go on. SQLite's transactions exclude each other anyway.
_ONE_AT_A_TIME = text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")


def sign_up_first(
    session: Session, keys: KeyStore, *, email: str, password: str, hasher: PasswordHasher = passwords.HASHER
) -> User | None:
    """The first administrator's account, or None when there is an administrator already; looked up and made in this
    one transaction, which begins when the password is hashed. Raises InvalidAccount, Conflict (the address is taken).
    """
    user = users.account(email=email, password=password, role="admin", hasher=hasher)
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_ONE_AT_A_TIME)
    return None if users.has_admin(session) else users.add(session, keys, user)
