"""The web role as it is run, on a data folder of its own: gunicorn, SQLite files, a cache server and a queue. Nobody
answers as its API role."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.embedded.addresses import Addresses
from app.embedded.redis_servers import broker_part, cache_part
from app.embedded.roles import web_part
from benchmarks.role_process import config_in, start, variables
from benchmarks.worker_process import worker_environment
from storage import schema
from storage.store import Storage


@dataclass(frozen=True)
class WebProcess:
    """url: where it answers. storage: opened here on the same data."""

    url: str
    storage: Storage


@contextmanager
def web_process() -> Iterator[WebProcess]:
    """Running, with nobody registered, until the block ends."""
    with ExitStack() as opened:
        folder = Path(tempfile.mkdtemp(prefix="idiolect-benchmark-"))
        opened.callback(shutil.rmtree, folder, ignore_errors=True)
        addresses = Addresses(0)
        opened.callback(addresses.close)
        config = config_in(folder, addresses.sockets / "cache.sock")
        schema.upgrade(config)
        broker = addresses.sockets / "broker.sock"
        own = {
            "IDIOLECT_BROKER_URL": f"unix://{broker}",
            "IDIOLECT_PUBLIC_URL": addresses.web_url,
            "IDIOLECT_API_URL": addresses.api_url,
        }
        environment = worker_environment(allocator=False) | variables(config) | own
        (folder / "broker").mkdir()
        with (folder / "lock").open("w") as lock:
            start(opened, broker_part(broker, folder / "broker", folder / "broker.log", lock.fileno(), environment))
        start(opened, cache_part(addresses.sockets / "cache.sock", folder / "cache.log", environment))
        storage = Storage.open(config)
        opened.callback(storage.close)
        start(opened, web_part(addresses, folder / "web.log", environment))
        yield WebProcess(addresses.web_url, storage)
