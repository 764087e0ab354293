"""The first administrator: made once, even when two people follow the link at the same moment."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from storage import users
from storage.keys import KeyStore
from storage.models import User

# Conflicts with itself and with every writer of users; readers go on. SQLite's transactions exclude each other anyway.
_ONE_AT_A_TIME = text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")


def sign_up_first(session: Session, keys: KeyStore, *, email: str, password: str) -> User | None:
    """The first administrator's account, or None when there is an administrator already; looked up and made in this
    one transaction. Raises InvalidAccount, Conflict (the address is taken)."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_ONE_AT_A_TIME)
    if users.has_admin(session):
        return None
    return users.sign_up(session, keys, email=email, password=password, role="admin")
