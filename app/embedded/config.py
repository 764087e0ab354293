"""Where the embedded platform keeps its data and listens. The parts it starts get their own settings from it.

This is the one module of `app.embedded` that reads the environment; it must not know what the settings of the other
packages mean, it only hands them through.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from app.errors import ConfigurationError

DEFAULT_PORT = 8000
DEFAULT_DATA_DIR = "data"


@dataclass(frozen=True)
class EmbeddedConfig:
    """One platform on one machine.

    data_dir: folder that holds everything that must survive a restart (IDIOLECT_DATA_DIR).
    port: TCP port of the web role on 127.0.0.1, 0 for any free one (IDIOLECT_PORT).
    environment: what every part inherits; the platform's own addresses and paths are laid over it.
    """

    data_dir: Path = Path(DEFAULT_DATA_DIR)
    port: int = DEFAULT_PORT
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"the port must lie between 0 and 65535, not {self.port}")

    @classmethod
    def from_env(
        cls, env: Mapping[str, str] = os.environ, *, data_dir: str | None = None, port: str | int | None = None
    ) -> Self:
        """Read the environment; the command line's values, where given, win. Raises ConfigurationError."""
        return cls(
            data_dir=Path(data_dir or env.get("IDIOLECT_DATA_DIR", "") or DEFAULT_DATA_DIR).absolute(),
            port=_port(env.get("IDIOLECT_PORT", "") if port is None else str(port)),
            environment=dict(env),
        )

    def without(self, *names: str) -> Self:
        """The same, but the parts do not inherit these variables."""
        return replace(self, environment={name: value for name, value in self.environment.items() if name not in names})


def _port(given: str) -> int:
    try:
        return int(given or DEFAULT_PORT)
    except ValueError as wrong:
        raise ConfigurationError(f"the port (IDIOLECT_PORT) must be a whole number, not {given!r}") from wrong
