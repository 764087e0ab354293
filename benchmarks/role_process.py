"""One role of the platform as it is run, on a data folder of its own: settings, start and end. Knows nothing of what is
asked of it."""

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from app.embedded.log_files import last_lines
from app.embedded.part import Part, RunningPart
from storage.config import StorageConfig

START_S, STOP_S = 300.0, 15.0
UNLIMITED = "1000000"  # requests of one key in a minute, and tokens of one account


def config_in(folder: Path, cache: Path) -> StorageConfig:
    """SQLite files in `folder`, a master key of their own, the cache server's socket."""
    return StorageConfig(
        database_url=f"sqlite:///{folder / 'data.db'}",
        key_store_url=f"sqlite:///{folder / 'keys.db'}",
        cache_url=f"unix://{cache}",
        master_key=os.urandom(32),
    )


def variables(config: StorageConfig) -> dict[str, str]:
    """What a role is told of that. No limit of requests stands in a benchmark's way."""
    return {
        "IDIOLECT_DATABASE_URL": config.database_url,
        "IDIOLECT_KEY_STORE_URL": config.key_store_url,
        "IDIOLECT_CACHE_URL": config.cache_url,
        "IDIOLECT_RATE_LIMIT_URL": config.cache_url,
        "IDIOLECT_RATE_LIMIT_PER_MINUTE": UNLIMITED,
        "IDIOLECT_TOKEN_LIMIT_PER_MINUTE": UNLIMITED,
        "IDIOLECT_MASTER_KEY": config.master_key.hex(),
        "PYTHONUNBUFFERED": "1",
    }


def start(opening: ExitStack, part: Part) -> RunningPart:
    """Start it, wait until it answers, and stop it when `opening` is closed."""
    running = RunningPart(part)
    opening.callback(_stop, running)
    until = time.monotonic() + START_S
    while not part.is_healthy():
        if running.has_ended() or time.monotonic() > until:
            print(last_lines(part.log), file=sys.stderr)
            raise SystemExit(f"the {part.name} did not start; the end of its log is above")
        time.sleep(0.1)
    return running


def _stop(running: RunningPart) -> None:
    running.ask_to_stop()
    until = time.monotonic() + STOP_S
    while not running.has_ended() and time.monotonic() < until:
        time.sleep(0.05)
    running.sweep()
