"""Sealing bytes and deriving keys. Knows no table and no user: callers name what the bytes belong to.

AES-256-GCM with a random 96-bit nonce; what the bytes belong to is the associated data, so that bytes put in another
place do not open. HKDF-SHA256 for keys of one purpose.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from storage.errors import IntegrityError

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
FORMAT = b"\x01"


def seal(key: bytes, plaintext: bytes, *associated: str) -> bytes:
    """Encrypt: 1 format byte, 12 nonce bytes, ciphertext, 16 tag bytes. `associated` must be named again to open it."""
    nonce = os.urandom(NONCE_BYTES)
    return FORMAT + nonce + AESGCM(key).encrypt(nonce, plaintext, _bound(associated))


def unseal(key: bytes, sealed: bytes, *associated: str) -> bytes:
    """Decrypt. Raises IntegrityError when the key, the associated data or a single bit differs."""
    if len(sealed) < 1 + NONCE_BYTES + TAG_BYTES or sealed[:1] != FORMAT:
        raise IntegrityError("these bytes were not sealed by this platform")
    nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, _bound(associated))
    except InvalidTag:
        raise IntegrityError("these bytes were changed, or belong to something else") from None


def derive(master_key: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose, from which neither the master key nor another purpose's key can be found."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=f"idiolect: {purpose}".encode()).derive(
        master_key
    )


def _bound(associated: tuple[str, ...]) -> bytes:
    """Length before each part, so that ("ab", "c") and ("a", "bc") differ."""
    return FORMAT + b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in associated)
