"""Who is calling the API: a person's own key ("idl-…") or the web role's token for a signed-in person ("gw-…").

Used by both roles: the web role issues gateway tokens, the API role verifies both kinds. Knows no Flask and loads no
torch. A gateway token lives for two minutes, is good only while the browser session it was minted for is, and never
reaches the browser.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy.exc import OperationalError

from storage import api_keys, crypto, web_sessions
from storage.store import Storage

GATEWAY_PREFIX = "gw-"
GATEWAY_SECONDS = 120
GATEWAY_SCOPES = ("generate",)  # the writing page asks for text and for nothing else
MAX_CREDENTIAL_CHARS = 1024


@dataclass(frozen=True)
class Caller:
    """Whose request this is and what it may do. `credential` names the key (or the browser session), for limits and
    logs; no secret."""

    user_id: str
    credential: str
    kind: Literal["key", "gateway"]
    scopes: tuple[str, ...]


def issue_gateway_token(storage: Storage, *, user_id: str, session_token: str) -> str:
    """A bearer token for the person who is signed in with this session token (the cookie's value)."""
    payload = {"user": user_id, "session": web_sessions.hashed(session_token)}
    return GATEWAY_PREFIX + str(_serializer(storage).dumps(payload))


def authenticate(storage: Storage, authorization: str | None) -> Caller | None:
    """The caller an Authorization header proves, or None: no bearer, unknown, revoked, expired, or not active."""
    return _proved(storage, authorization, GATEWAY_SECONDS)


def still_proves(storage: Storage, authorization: str | None) -> bool:
    """Whether a header that was good when a long answer began would be good still: as `authenticate`, but a gateway
    token may have grown older than its two minutes meanwhile."""
    return _proved(storage, authorization, None) is not None


def _proved(storage: Storage, authorization: str | None, max_age_s: int | None) -> Caller | None:
    scheme, _, credential = (authorization or "").partition(" ")
    credential = credential.strip()
    if scheme.lower() != "bearer" or not credential.isascii() or len(credential) > MAX_CREDENTIAL_CHARS:
        return None
    if credential.startswith(GATEWAY_PREFIX):
        return _by_gateway_token(storage, credential.removeprefix(GATEWAY_PREFIX), max_age_s)
    return _by_key(storage, credential)


def _by_key(storage: Storage, secret: str) -> Caller | None:
    with storage.database.reading() as session:
        found = api_keys.authenticate(session, secret)
    if found is None:
        return None
    key, user = found
    if api_keys.is_touch_due(key):
        with suppress(OperationalError), storage.database.session() as session:  # it is good all the same
            api_keys.touch(session, key.id)
    return Caller(user_id=user.id, credential=key.id, kind="key", scopes=api_keys.scopes_of(key))


def _by_gateway_token(storage: Storage, token: str, max_age_s: int | None) -> Caller | None:
    try:
        payload = _serializer(storage).loads(token, max_age=max_age_s)
    except BadSignature:
        return None
    user = web_sessions.recognise(storage.database, payload["session"])
    if user is None or user.id != payload["user"]:
        return None
    credential = f"session-{payload['session'][:16]}"
    return Caller(user_id=user.id, credential=credential, kind="gateway", scopes=GATEWAY_SCOPES)


def _serializer(storage: Storage) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(crypto.derive(storage.config.master_key, "gateway"), salt="gateway")
