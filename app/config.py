"""The app package's one configuration object. Nothing else in `app` reads the environment. Loads no torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from app.errors import ConfigurationError

# Each open answer holds one of a process's threads; what is left over serves everything that ends quickly.
API_THREADS = 160  # of the API role's one process
API_UPLOADS = 4  # training files that are read at once: each takes seconds, and many times its size in memory
API_DOWNLOADS = 16  # training files that are sent at once
API_EVENT_STREAMS = 24  # of them, followed trainings hold at most
WEB_PROCESSES = 2
WEB_THREADS = 160  # of each process of the web role
WEB_EVENT_STREAMS = 32  # of them, pages that watch a training hold at most
WEB_UPLOADS = 2  # forms with people's files that are read at once: each is held in memory, and so is what reads it
WEB_EXPORTS = 4  # copies of everything that are packed and sent at once
WEB_RELAYS = 112  # and requests to the API role; the two processes together ask for more than it admits

MULTIPART_BYTES = 64 * 1024  # what goes around an uploaded file in its request


@dataclass(frozen=True)
class AppConfig:
    """How the web and API roles face the world.

    public_url: where people reach the web role (IDIOLECT_PUBLIC_URL); https makes cookies Secure.
    api_url: where the web role's gateway reaches the API role (IDIOLECT_API_URL).
    max_num_seqs: answers that decode together in one batch (IDIOLECT_MAX_NUM_SEQS).
    kv_cache_mb: MiB for their keys and values at most, 0 for as much as that many take (IDIOLECT_KV_CACHE_MB).
    max_waiting: answers that may wait for a row before new ones get 503 (IDIOLECT_MAX_WAITING); with the rows and
        API_EVENT_STREAMS it must stay below API_THREADS, so that the health check always finds one.
    prefix_memory_mb: MiB of opened prefixes that an API process holds for the next requests, on the model's device
        (IDIOLECT_PREFIX_MEMORY_MB; 0: none, each request opens its own).
    max_body_bytes: the largest request body (IDIOLECT_MAX_BODY_BYTES).
    rate_limit_per_minute: API requests of one key in a minute (IDIOLECT_RATE_LIMIT_PER_MINUTE).
    token_limit_per_minute: tokens that one account may have read and written in a minute
        (IDIOLECT_TOKEN_LIMIT_PER_MINUTE).
    rate_limit_url: where limits are counted, redis:// or unix:// (IDIOLECT_RATE_LIMIT_URL; empty: in memory).
    logprobs: "on" tells callers who ask how likely each token was, "off" refuses (IDIOLECT_LOGPROBS).
    trusted_proxies: reverse proxies in front of the web role, whose X-Forwarded-For and -Proto are believed
        (IDIOLECT_TRUSTED_PROXIES; 0: none, the headers are anybody's to send).
    max_guests: people who may try it at once without an account (IDIOLECT_MAX_GUESTS; 0: nobody may).
    sign_up: who makes accounts (IDIOLECT_SIGN_UP): "open", whoever comes to the page; "closed", an owner in the console
        and the service of oidc_issuer, and there are no guests either.
    oidc_issuer: the OpenID Connect service that people may sign in with (IDIOLECT_OIDC_ISSUER; empty: none).
    oidc_client_id: by what it knows this platform (IDIOLECT_OIDC_CLIENT_ID); needed with oidc_issuer.
    oidc_client_secret: what this platform proves itself with there (IDIOLECT_OIDC_CLIENT_SECRET; empty: a public
        client, by PKCE alone).
    oidc_name: what the service is called on the pages (IDIOLECT_OIDC_NAME; empty: its host).
    translations: a folder with catalogues of other languages for the pages (IDIOLECT_TRANSLATIONS; empty: none beside
        those that come with Idiolect).
    """

    public_url: str = "http://127.0.0.1:8000"
    api_url: str = "http://127.0.0.1:8001"
    max_num_seqs: int = 64
    kv_cache_mb: int = 0
    max_waiting: int = 64
    prefix_memory_mb: int = 256
    max_body_bytes: int = 4 * 1024 * 1024
    rate_limit_per_minute: int = 600
    token_limit_per_minute: int = 200_000
    rate_limit_url: str = ""
    logprobs: str = "off"
    trusted_proxies: int = 0
    max_guests: int = 20
    sign_up: str = "open"
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = field(default="", repr=False)
    oidc_name: str = ""
    translations: str = ""

    def __post_init__(self) -> None:
        for name, value in (
            ("IDIOLECT_MAX_NUM_SEQS", self.max_num_seqs),
            ("IDIOLECT_MAX_BODY_BYTES", self.max_body_bytes),
            ("IDIOLECT_RATE_LIMIT_PER_MINUTE", self.rate_limit_per_minute),
            ("IDIOLECT_TOKEN_LIMIT_PER_MINUTE", self.token_limit_per_minute),
        ):
            if value < 1:
                raise ConfigurationError(f"{name} must be at least 1, not {value}")
        if self.logprobs not in ("on", "off"):
            raise ConfigurationError(f"IDIOLECT_LOGPROBS must be on or off, not {self.logprobs!r}")
        if self.sign_up not in ("open", "closed"):
            raise ConfigurationError(f"IDIOLECT_SIGN_UP must be open or closed, not {self.sign_up!r}")
        if self.trusted_proxies < 0:
            raise ConfigurationError(f"IDIOLECT_TRUSTED_PROXIES must be 0 or more, not {self.trusted_proxies}")
        at_least_nothing = {
            "IDIOLECT_MAX_WAITING": self.max_waiting,
            "IDIOLECT_KV_CACHE_MB": self.kv_cache_mb,
            "IDIOLECT_MAX_GUESTS": self.max_guests,
            "IDIOLECT_PREFIX_MEMORY_MB": self.prefix_memory_mb,
        }
        for name, value in at_least_nothing.items():
            if value < 0:
                raise ConfigurationError(f"{name} must be 0 or more, not {value}")
        if self.max_num_seqs + self.max_waiting >= API_THREADS - API_EVENT_STREAMS:
            raise ConfigurationError(
                f"IDIOLECT_MAX_NUM_SEQS and IDIOLECT_MAX_WAITING must be less than {API_THREADS - API_EVENT_STREAMS} "
                f"together (the API's {API_THREADS} threads, less {API_EVENT_STREAMS} for event streams), "
                f"not {self.max_num_seqs + self.max_waiting}"
            )
        if self.translations and not Path(self.translations).is_dir():
            raise ConfigurationError(f"IDIOLECT_TRANSLATIONS must be a folder, and {self.translations!r} is none")
        self._check_oidc()
        for name, url in (("IDIOLECT_PUBLIC_URL", self.public_url), ("IDIOLECT_API_URL", self.api_url)):
            if not url.startswith(("http://", "https://")):
                raise ConfigurationError(f"{name} must start with http:// or https://, not {url!r}")

    def _check_oidc(self) -> None:
        if not self.oidc_issuer:
            return
        here = urlsplit(self.oidc_issuer).hostname in ("127.0.0.1", "::1", "localhost")
        if not self.oidc_issuer.startswith("https://") and not (here and self.oidc_issuer.startswith("http://")):
            raise ConfigurationError(f"IDIOLECT_OIDC_ISSUER must start with https://, not {self.oidc_issuer!r}")
        if not self.oidc_client_id:
            raise ConfigurationError("IDIOLECT_OIDC_CLIENT_ID must be set when IDIOLECT_OIDC_ISSUER is")

    @property
    def sign_up_open(self) -> bool:
        """Whether whoever comes to the page may make an account, or begin as a guest."""
        return self.sign_up == "open"

    @property
    def caution(self) -> str | None:
        """What works and had better be mended all the same, in one sentence; None where there is nothing."""
        if self.trusted_proxies or not self.public_url.startswith("https://"):
            return None
        return (
            "IDIOLECT_PUBLIC_URL is https and IDIOLECT_TRUSTED_PROXIES is 0: behind a TLS proxy all visitors count as "
            "one, so anybody's wrong passwords can block everybody's sign-in; set it to the number of proxies in "
            "front of the web role, usually 1"
        )

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Read the environment. Raises ConfigurationError with the variable to mend."""
        return cls(
            public_url=(env.get("IDIOLECT_PUBLIC_URL", "") or cls.public_url).rstrip("/"),
            api_url=(env.get("IDIOLECT_API_URL", "") or cls.api_url).rstrip("/"),
            max_num_seqs=_whole(env, "IDIOLECT_MAX_NUM_SEQS", cls.max_num_seqs),
            kv_cache_mb=_whole(env, "IDIOLECT_KV_CACHE_MB", cls.kv_cache_mb),
            max_waiting=_whole(env, "IDIOLECT_MAX_WAITING", cls.max_waiting),
            prefix_memory_mb=_whole(env, "IDIOLECT_PREFIX_MEMORY_MB", cls.prefix_memory_mb),
            max_body_bytes=_whole(env, "IDIOLECT_MAX_BODY_BYTES", cls.max_body_bytes),
            rate_limit_per_minute=_whole(env, "IDIOLECT_RATE_LIMIT_PER_MINUTE", cls.rate_limit_per_minute),
            token_limit_per_minute=_whole(env, "IDIOLECT_TOKEN_LIMIT_PER_MINUTE", cls.token_limit_per_minute),
            rate_limit_url=env.get("IDIOLECT_RATE_LIMIT_URL", ""),
            logprobs=env.get("IDIOLECT_LOGPROBS", "") or cls.logprobs,
            trusted_proxies=_whole(env, "IDIOLECT_TRUSTED_PROXIES", cls.trusted_proxies),
            max_guests=_whole(env, "IDIOLECT_MAX_GUESTS", cls.max_guests),
            sign_up=env.get("IDIOLECT_SIGN_UP", "") or cls.sign_up,
            oidc_issuer=env.get("IDIOLECT_OIDC_ISSUER", ""),
            oidc_client_id=env.get("IDIOLECT_OIDC_CLIENT_ID", ""),
            oidc_client_secret=env.get("IDIOLECT_OIDC_CLIENT_SECRET", ""),
            oidc_name=env.get("IDIOLECT_OIDC_NAME", ""),
            translations=env.get("IDIOLECT_TRANSLATIONS", ""),
        )


def _whole(env: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(env.get(name, "") or default)
    except ValueError as wrong:
        raise ConfigurationError(f"{name} must be a whole number, not {env[name]!r}") from wrong
