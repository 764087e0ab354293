"""What a key must be allowed to do for each route. The one table; a blueprint that is not in it answers nobody.

Each scope lets its holder look at its own things too, so that a key with one alone is of use: whoever may train may
also follow the training. Knows no key.
"""

_READING = ("GET", "HEAD")
_OWN = {
    "completions": "generate",
    "chat": "generate",
    "models": "generate",
    "voices": "samples",
    "samples": "samples",
    "files": "samples",
    "fine_tuning": "tuning",
    "voice_runs": "tuning",
    "tuning_runs": "tuning",
    "usage": "read",
}


def wanted(blueprint: str, method: str) -> tuple[str, ...]:
    """The scopes of which a caller needs one. Raises KeyError for a blueprint that nobody gave a scope."""
    own = _OWN[blueprint]
    return tuple(dict.fromkeys((own, "read"))) if method in _READING else (own,)
