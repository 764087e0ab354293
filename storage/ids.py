"""Names of rows: a kind a person can read, and 100 random bits nobody can guess."""

import secrets

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
RANDOM_CHARS = 20


def new_id(kind: str) -> str:
    """A fresh id such as "voice-k3v5…": the kind, a dash and 20 base32 characters."""
    return f"{kind}-{''.join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARS))}"
