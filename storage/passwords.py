"""Passwords: argon2id hashes, slow on purpose. Knows no table."""

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

HASHER = PasswordHasher()  # 64 MiB and about a sixth of a second, the library's recommendation
# At most four at once in a process (256 MiB); further ones wait their turn, so that a flood of sign-ins eats no memory.
_TURNS = threading.BoundedSemaphore(4)
# What an unknown address is measured against, so that it takes as long as a known one.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$iVWtKCfcPxFuCLYGGsBJzmBaAXGzUCBRZ1eCRm5xEqI"


def hashed(password: str, hasher: PasswordHasher = HASHER) -> str:
    """What is stored in place of a password."""
    with _TURNS:
        return hasher.hash(_as_bytes(password))


def is_right(password_hash: str | None, password: str, hasher: PasswordHasher = HASHER) -> bool:
    """Whether this password made this hash. None (no such account) takes as long and is False."""
    try:
        with _TURNS:
            return hasher.verify(password_hash or _NOBODY, _as_bytes(password)) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


def _as_bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")  # whatever a form can send is a password
