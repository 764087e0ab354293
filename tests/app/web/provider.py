"""A small OpenID Connect service for tests: signs people in at once, and can be told to lie."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode

from flask import Flask, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from tests.app.web.serving import listening

CLIENT_ID, CLIENT_SECRET = WE = ("idiolect:test", "p/s+w:d")


@dataclass
class Provider:
    """Who signs in next and what is said of them. lies: claims laid over the true ones, None leaves one out."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "s-1"})
    lies: dict[str, Any] = field(default_factory=dict)
    metadata_lies: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "first"}))
    published: RSAKey | None = None  # another key than it signs with
    algorithm: str = "RS256"
    forged_with: str = ""
    agreed: str = "basic"
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    exchanged: int = 0

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            **self.metadata_lies,
        }

    def id_token(self, nonce: str) -> str:
        at = int(time.time())
        true = {"iss": self.url, "aud": CLIENT_ID, "iat": at, "exp": at + 60, "nonce": nonce, **self.claims}
        claims = {name: value for name, value in {**true, **self.lies}.items() if value is not None}
        if self.forged_with:
            return self._forged(claims)
        return jwt.encode({"alg": self.algorithm, "kid": self.key.kid}, claims, self.key, algorithms=[self.algorithm])

    def _forged(self, claims: dict[str, Any]) -> str:
        """Signed by nobody ("none"), or with the published key as if it were a secret ("HS256")."""

        def coded(part: bytes) -> bytes:
            return base64.urlsafe_b64encode(part).rstrip(b"=")

        head = {"alg": self.forged_with, "kid": self.key.kid}
        signed = b".".join(coded(json.dumps(part).encode()) for part in (head, claims))
        mark = hmac.digest(self.key.as_pem(private=False), signed, "sha256") if self.forged_with == "HS256" else b""
        return b".".join((signed, coded(mark))).decode()

    def lets_in(self) -> bool:
        """Whether this platform has proved itself in the way that was agreed on."""
        login = request.authorization
        given = (request.form.get("client_id"), request.form.get("client_secret"))
        match self.agreed:
            case "basic":
                return login is not None and (unquote(login.username or ""), unquote(login.password or "")) == WE
            case "post":
                return login is None and given == WE
            case _:
                return login is None and given == (CLIENT_ID, None)


def make_app(provider: Provider) -> Flask:
    app = Flask("provider")

    @app.get("/.well-known/openid-configuration")
    def metadata() -> ResponseReturnValue:
        return jsonify(provider.metadata())

    @app.get("/keys")
    def keys() -> ResponseReturnValue:
        return jsonify(KeySet([provider.published or provider.key]).as_dict(private=False))

    @app.get("/authorize")
    def authorize() -> ResponseReturnValue:
        asked = request.args.to_dict()
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(8)
        provider.codes[code] = asked
        return redirect(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    @app.post("/token")
    def token() -> ResponseReturnValue:
        asked = provider.codes.pop(request.form["code"], None)  # a code is good once
        challenge = hashlib.sha256(request.form["code_verifier"].encode()).digest()
        if (
            asked is None
            or not provider.lets_in()
            or request.form["redirect_uri"] != asked["redirect_uri"]
            or base64.urlsafe_b64encode(challenge).rstrip(b"=").decode() != asked["code_challenge"]
        ):
            return jsonify(error="invalid_grant"), 400
        provider.exchanged += 1
        return jsonify(access_token="a", token_type="Bearer", id_token=provider.id_token(asked["nonce"]))

    return app


@contextmanager
def running_provider() -> Iterator[Provider]:
    """Serve until the block is left."""
    provider = Provider()
    with listening(make_app(provider)) as url:
        provider.url = url
        yield provider
