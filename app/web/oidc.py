"""Signing in with an OpenID Connect service: authorization code with PKCE, and the proof of who came back.

What comes back is believed only if the service's own key signed it, for this platform, lately, and for the very request
that this browser began. Knows no Flask, no table and no account.
"""

import base64
import hashlib
import secrets
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from app.config import AppConfig
from app.errors import SignInRefused, SignInUnavailable

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
METADATA_S = 3600.0
TIMEOUT_S = 5.0
LEEWAY_S = 60
MAX_SUBJECT_CHARS = 255  # by the specification


@dataclass(frozen=True)
class Begun:
    """One sign-in under way. Keep it with the browser that began it, and nowhere else."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def anew(cls) -> "Begun":
        """Three secrets."""
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))


@dataclass(frozen=True)
class Known:
    """Who came back. email: an address that the service has confirmed, or None."""

    issuer: str
    subject: str
    email: str | None


class SignInService:
    """One issuer. Safe to share between threads; what it says of itself is read anew every hour."""

    def __init__(self, config: AppConfig) -> None:
        self.issuer = config.oidc_issuer
        self.name = config.oidc_name or urlsplit(config.oidc_issuer).hostname or ""
        self.back_url = f"{config.public_url}/signin/back"
        self._client_id, self._client_secret = config.oidc_client_id, config.oidc_client_secret
        self._http = httpx.Client(timeout=TIMEOUT_S, trust_env=False, verify=ssl.create_default_context())
        self._said: tuple[float, dict[str, Any], KeySet] | None = None

    def address(self, begun: Begun) -> str:
        """Where to send the browser. Raises SignInUnavailable."""
        metadata, _ = self._metadata()
        challenge = hashlib.sha256(begun.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self.back_url,
            "scope": "openid email",
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        endpoint = str(metadata["authorization_endpoint"])
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(asked)}"

    def know(self, begun: Begun, code: str) -> Known:
        """Who came back with this code. Raises SignInRefused, SignInUnavailable."""
        answer = self._exchange(begun, code)
        claims = self._proved(str(answer.get("id_token", "")), begun.nonce)
        subject, email = str(claims["sub"]), claims.get("email")
        if not 0 < len(subject) <= MAX_SUBJECT_CHARS or not subject.isprintable():
            raise SignInRefused("no_subject")
        confirmed = isinstance(email, str) and claims.get("email_verified") is True
        return Known(self.issuer, subject, email if confirmed else None)

    def _exchange(self, begun: Begun, code: str) -> dict[str, Any]:
        metadata, _ = self._metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.back_url,
            "code_verifier": begun.verifier,
        }
        login: httpx.Auth = httpx.Auth()  # proves nothing
        if not self._client_secret:
            form["client_id"] = self._client_id
        elif "client_secret_basic" in metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]):
            login = httpx.BasicAuth(quote(self._client_id, safe=""), quote(self._client_secret, safe=""))
        else:
            form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        try:
            answer = self._http.post(str(metadata["token_endpoint"]), data=form, auth=login)
            said = answer.json()
        except (httpx.HTTPError, ValueError) as away:
            raise SignInUnavailable(type(away).__name__) from None
        if answer.status_code != 200 or not isinstance(said, dict):
            raise SignInRefused("no_token")
        return said

    def _proved(self, id_token: str, nonce: str) -> dict[str, Any]:
        wanted = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self._client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            token = self._opened(id_token)
            wanted.validate(token.claims)
        except (JoseError, ValueError) as wrong:
            raise SignInRefused(type(wrong).__name__) from None
        if token.claims.get("azp", self._client_id) != self._client_id:
            raise SignInRefused("azp")
        return dict(token.claims)

    def _opened(self, id_token: str) -> jwt.Token:
        """The token, once one of the service's keys has been found to have signed it. Keys change: those at hand are
        tried, then those of now."""
        _, keys = self._metadata()
        try:
            return jwt.decode(id_token, keys, algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            self._said = None
            _, keys = self._metadata()
            return jwt.decode(id_token, keys, algorithms=ALGORITHMS)

    def _metadata(self) -> tuple[dict[str, Any], KeySet]:
        said = self._said
        if said is None or said[0] < time.monotonic() - METADATA_S:
            try:
                metadata = self._get(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
                if metadata.get("issuer") != self.issuer:
                    raise SignInUnavailable("it names another issuer than IDIOLECT_OIDC_ISSUER")
                self._require_tls(metadata)
                keys = KeySet.import_key_set(self._get(str(metadata["jwks_uri"])))  # type: ignore[arg-type]
            except (httpx.HTTPError, JoseError, KeyError, ValueError) as away:
                raise SignInUnavailable(type(away).__name__) from None
            said = self._said = (time.monotonic(), metadata, keys)
        return said[1], said[2]

    def _require_tls(self, metadata: dict[str, Any]) -> None:
        places = [str(metadata[name]) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        if self.issuer.startswith("https://") and not all(place.startswith("https://") for place in places):
            raise SignInUnavailable("it names an address without TLS")

    def _get(self, url: str) -> dict[str, Any]:
        answer = self._http.get(url).raise_for_status().json()
        if not isinstance(answer, dict):
            raise ValueError("not a JSON object")
        return answer
