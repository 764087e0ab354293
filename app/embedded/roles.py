"""The three roles of the one code base, as processes: commands, and the settings each gets.

The commands are those of docker-compose.yml; only addresses differ.
"""

import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import sqlalchemy

from app.embedded.addresses import Addresses
from app.embedded.config import EmbeddedConfig
from app.embedded.data_folder import DataFolder
from app.embedded.health import HealthRequest
from app.embedded.part import Part

# glibc gives a step's memory back to the system and fetches it again at every step; a worker keeps it instead. What a
# step costs with and without: python -m benchmarks.step_time
ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "67108864"}
GRACE_S = "4"  # seconds a web or API process has to end its requests


def role_environment(config: EmbeddedConfig, folder: DataFolder, addresses: Addresses) -> dict[str, str]:
    """What every role is told: the caller's own settings under the platform's addresses and paths.

    A master key in the caller's environment is used as it is; otherwise the data folder's key file is.
    """
    cache = f"unix://{addresses.sockets / 'cache.sock'}"
    given = dict(config.environment)
    if not given.get("IDIOLECT_MASTER_KEY") and not given.get("IDIOLECT_MASTER_KEY_FILE"):
        given["IDIOLECT_MASTER_KEY_FILE"] = str(folder.master_key)
    return given | {
        "IDIOLECT_PUBLIC_URL": given.get("IDIOLECT_PUBLIC_URL") or addresses.web_url,
        "IDIOLECT_DATABASE_URL": _sqlite_url(folder.database),
        "IDIOLECT_KEY_STORE_URL": _sqlite_url(folder.key_store),
        "IDIOLECT_CACHE_URL": cache,
        "IDIOLECT_RATE_LIMIT_URL": cache,
        "IDIOLECT_BROKER_URL": f"unix://{addresses.sockets / 'broker.sock'}",
        "IDIOLECT_API_URL": addresses.api_url,
        "OMP_WAIT_POLICY": given.get("OMP_WAIT_POLICY") or "PASSIVE",  # threads that spin starve the role beside them
        "PYTHONUNBUFFERED": "1",
    }


def web_part(addresses: Addresses, log: Path, environment: Mapping[str, str]) -> Part:
    """The pages, the console and the gateway to the API; what else gunicorn needs to know stands in app.web.server."""
    listener = addresses.web.fileno()
    command = _gunicorn(listener, "app.web.factory:create_app()", "--config", "python:app.web.server")
    return Part("web", command, log, HealthRequest(addresses.web), environment, inherited=(listener,))


def api_part(addresses: Addresses, log: Path, environment: Mapping[str, str]) -> Part:
    """The API and the model; what else gunicorn needs to know of it stands in app.api.server."""
    listener = addresses.api.fileno()
    command = _gunicorn(listener, "app.api.factory:create_app()", "--config", "python:app.api.server")
    return Part("api", command, log, HealthRequest(addresses.api), environment, inherited=(listener,))


def worker_part(log: Path, environment: Mapping[str, str], is_healthy: Callable[[], bool]) -> Part:
    """The Celery worker. Orphaned, it is killed at once: its run's lease ends and the run goes on elsewhere."""
    options = ("--pool", "prefork", "--concurrency", "1", "--loglevel", "INFO")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    command = (sys.executable, "-m", "celery", "-A", "tuning.celery_app", "worker", *options, *quiet)
    return Part("worker", command, log, is_healthy, ALLOCATOR | dict(environment), orphaned=signal.SIGKILL)


def _gunicorn(listener: int, application: str, *options: str) -> tuple[str, ...]:
    bind = ("--bind", f"fd://{listener}", "--graceful-timeout", GRACE_S, "--no-control-socket")
    return (sys.executable, "-m", "gunicorn", *bind, *options, application)


def _sqlite_url(path: Path) -> str:
    return sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()
