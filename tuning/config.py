"""The tuning package's two configuration objects: of training, and of what the worker brings to people outside the
pages. Nothing else in `tuning` reads the environment. Loads no torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from tuning.errors import ConfigurationError

BUNDLED_MODEL = Path(__file__).resolve().parent.parent / "base_model"
BUNDLED_NAME = "idiolect-base"
MAIL_SCHEMES = ("smtp", "smtps", "smtp+plain")
DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")


@dataclass(frozen=True)
class TuningConfig:
    """The shared model and how prefixes are trained on it.

    base_model: Hugging Face id or local path (IDIOLECT_BASE_MODEL; default: the bundled model).
    base_model_name: what /v1/models calls it (IDIOLECT_BASE_MODEL_NAME; default: the id, or the folder's name).
    device: "auto" (CUDA if there is one, else CPU), "cpu", "cuda", "cuda:1" … (IDIOLECT_DEVICE).
    dtype: of the weights (IDIOLECT_DTYPE); "auto" is float32 on a CPU and bfloat16 elsewhere, and for answers bfloat16
        on a CPU that multiplies it natively.
    num_threads: torch threads of one process, 0 for torch's own choice (IDIOLECT_NUM_THREADS).
    broker_url: the Redis-protocol server of the queue (IDIOLECT_BROKER_URL).
    max_context: positions served at most, prefix included; the model's own limit where that is less
        (IDIOLECT_MAX_CONTEXT). The registration probe fills a context of this length once at every start.
    population_prefix: where every voice starts from, a file made by `python -m tuning.population`
        (IDIOLECT_POPULATION_PREFIX; default: population.safetensors in the base model's folder, if there is one;
        "none": no shared start).
    num_virtual_tokens: prefix length (IDIOLECT_NUM_VIRTUAL_TOKENS).
    max_steps: ceiling of optimizer steps of one run (IDIOLECT_MAX_STEPS).
    runs_together: waiting runs that one worker trains in common passes, at most (IDIOLECT_RUNS_TOGETHER); 0: one on a
        CPU, as many as fit elsewhere.
    training_memory_mb: MiB that training may use beside the model (IDIOLECT_TRAINING_MEMORY_MB); 0: half of what is
        free when the worker loads the model.
    lease_s: seconds until another worker may claim a run whose worker has gone silent (IDIOLECT_LEASE_S).
    max_attempts: claims after which a run is given up as failed (IDIOLECT_MAX_ATTEMPTS).
    """

    base_model: str = str(BUNDLED_MODEL)
    base_model_name: str = BUNDLED_NAME
    device: str = "auto"
    dtype: str = "auto"
    num_threads: int = 0
    broker_url: str = ""
    max_context: int = 2048
    population_prefix: str = ""
    num_virtual_tokens: int = 16
    max_steps: int = 240
    runs_together: int = 0
    training_memory_mb: int = 0
    lease_s: float = 60.0
    max_attempts: int = 3

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigurationError(f"IDIOLECT_DTYPE must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
        for name, value, least in (
            ("IDIOLECT_MAX_CONTEXT", self.max_context, 64),
            ("IDIOLECT_NUM_VIRTUAL_TOKENS", self.num_virtual_tokens, 1),
            ("IDIOLECT_MAX_STEPS", self.max_steps, 1),
            ("IDIOLECT_LEASE_S", self.lease_s, 1),
            ("IDIOLECT_MAX_ATTEMPTS", self.max_attempts, 1),
            ("IDIOLECT_NUM_THREADS", self.num_threads, 0),
            ("IDIOLECT_RUNS_TOGETHER", self.runs_together, 0),
            ("IDIOLECT_TRAINING_MEMORY_MB", self.training_memory_mb, 0),
        ):
            if value < least:
                raise ConfigurationError(f"{name} must be at least {least}, not {value}")

    @property
    def heartbeat_s(self) -> float:
        """Seconds between two signs of life of a run's worker: a sixth of the lease."""
        return self.lease_s / 6

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Read the environment. Raises ConfigurationError with the variable to mend."""
        base_model = env.get("IDIOLECT_BASE_MODEL", "") or cls.base_model
        name = env.get("IDIOLECT_BASE_MODEL_NAME", "") or _name_of(base_model)
        return cls(
            base_model=base_model,
            base_model_name=name,
            device=env.get("IDIOLECT_DEVICE", "") or cls.device,
            dtype=env.get("IDIOLECT_DTYPE", "") or cls.dtype,
            num_threads=int(_number(env, "IDIOLECT_NUM_THREADS", cls.num_threads)),
            broker_url=env.get("IDIOLECT_BROKER_URL", ""),
            max_context=int(_number(env, "IDIOLECT_MAX_CONTEXT", cls.max_context)),
            population_prefix=env.get("IDIOLECT_POPULATION_PREFIX", ""),
            num_virtual_tokens=int(_number(env, "IDIOLECT_NUM_VIRTUAL_TOKENS", cls.num_virtual_tokens)),
            max_steps=int(_number(env, "IDIOLECT_MAX_STEPS", cls.max_steps)),
            runs_together=int(_number(env, "IDIOLECT_RUNS_TOGETHER", cls.runs_together)),
            training_memory_mb=int(_number(env, "IDIOLECT_TRAINING_MEMORY_MB", cls.training_memory_mb)),
            lease_s=_number(env, "IDIOLECT_LEASE_S", cls.lease_s),
            max_attempts=int(_number(env, "IDIOLECT_MAX_ATTEMPTS", cls.max_attempts)),
        )


@dataclass(frozen=True)
class PostConfig:
    """How the worker brings something to people outside the pages.

    smtp_url: the mail server, smtp://user:password@host:587 (turns to TLS, or sends nothing), smtps://… (TLS from the
        first byte) or smtp+plain://… (no TLS, for a relay on a network of its own); user and password are
        percent-encoded (IDIOLECT_SMTP_URL; empty: no mail is sent).
    mail_from: the address that mail comes from (IDIOLECT_MAIL_FROM); needed with smtp_url.
    public_url: where the links in a mail lead (IDIOLECT_PUBLIC_URL).
    webhooks_inside: "on" lets people have notices sent to private addresses and over http, "off" refuses
        (IDIOLECT_WEBHOOKS_INSIDE).
    """

    smtp_url: str = field(default="", repr=False)  # holds a password
    mail_from: str = ""
    public_url: str = "http://127.0.0.1:8000"
    webhooks_inside: str = "off"

    def __post_init__(self) -> None:
        if self.webhooks_inside not in ("on", "off"):
            raise ConfigurationError(f"IDIOLECT_WEBHOOKS_INSIDE must be on or off, not {self.webhooks_inside!r}")
        if not self.smtp_url:
            return
        try:
            given = urlsplit(self.smtp_url)
            complete = bool(given.hostname) and given.port != 0
        except ValueError:
            complete = False
        if not complete or given.scheme not in MAIL_SCHEMES:  # the URL is not repeated: it may hold a password
            raise ConfigurationError("IDIOLECT_SMTP_URL must look like smtp://user:password@host:587 or smtps://host")
        if "@" not in self.mail_from or not self.mail_from.isprintable():
            raise ConfigurationError("IDIOLECT_MAIL_FROM must be an address when IDIOLECT_SMTP_URL is set")

    @property
    def goes_inside(self) -> bool:
        """Whether webhooks may lead into networks of our own."""
        return self.webhooks_inside == "on"

    @property
    def sends_mail(self) -> bool:
        """Whether a mail server is set."""
        return bool(self.smtp_url)

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Read the environment. Raises ConfigurationError with the variable to mend."""
        return cls(
            smtp_url=env.get("IDIOLECT_SMTP_URL", ""),
            mail_from=env.get("IDIOLECT_MAIL_FROM", "").strip(),
            public_url=(env.get("IDIOLECT_PUBLIC_URL", "") or cls.public_url).rstrip("/"),
            webhooks_inside=env.get("IDIOLECT_WEBHOOKS_INSIDE", "") or cls.webhooks_inside,
        )


def _name_of(base_model: str) -> str:
    if base_model == str(BUNDLED_MODEL):
        return BUNDLED_NAME
    path = Path(base_model)
    return path.resolve().name if path.exists() else base_model


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(env.get(name, "") or default)
    except ValueError as wrong:
        raise ConfigurationError(f"{name} must be a number, not {env[name]!r}") from wrong
