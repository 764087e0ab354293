"""The web role as it is run: gunicorn and its settings."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.store import Storage
from tests.source_tree import ROOT

COMMAND = (sys.executable, "-m", "gunicorn", "-c", "python:app.web.server", "app.web.factory:create_app()")


def said_at_the_start(storage: Storage, tmp_path: Path, **env: str) -> tuple[int, str]:
    """Exit status and stderr of a server that is stopped as soon as its workers listen."""
    config = storage.config
    settings = {
        "IDIOLECT_DATABASE_URL": config.database_url,
        "IDIOLECT_KEY_STORE_URL": config.key_store_url,
        "IDIOLECT_CACHE_URL": config.cache_url,
        "IDIOLECT_MASTER_KEY": config.master_key.hex(),
    }
    plain = {name: value for name, value in os.environ.items() if not name.startswith("IDIOLECT_")}
    server = subprocess.Popen(
        [*COMMAND, "--bind", f"unix:{tmp_path}/web.sock", "--log-level", "error"],
        cwd=ROOT,
        env=plain | settings | env,
        text=True,
        stderr=subprocess.PIPE,
    )
    while server.poll() is None and not (tmp_path / "web.sock").exists():
        time.sleep(0.02)
    server.terminate()
    _, told = server.communicate(timeout=60)
    return server.returncode, told


@pytest.mark.parametrize(("proxies", "warnings"), [("0", 1), ("1", 0)])
def test_https_without_a_trusted_proxy_is_warned_of_once(
    storage: Storage, tmp_path: Path, proxies: str, warnings: int
) -> None:
    env = {"IDIOLECT_PUBLIC_URL": "https://idiolect.example", "IDIOLECT_TRUSTED_PROXIES": proxies}
    status, told = said_at_the_start(storage, tmp_path, **env)
    assert status == 0
    assert told.count("idiolect web: warning: ") == warnings
    assert told.count("IDIOLECT_TRUSTED_PROXIES") == warnings


def test_a_wrong_setting_is_one_line_for_all_its_processes(storage: Storage, tmp_path: Path) -> None:
    status, told = said_at_the_start(storage, tmp_path, IDIOLECT_PUBLIC_URL="idiolect.example")
    assert status == 2
    assert told.count("\n") == 1
    assert told.startswith("idiolect web: IDIOLECT_PUBLIC_URL must start with")
