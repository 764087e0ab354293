"""The whole platform on one machine, started, used, hurt, stopped and started again. Everything is real."""

import os
import re
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.app.embedded.platform_process import PlatformProcess, pid_of, processes_of

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
EMAIL, PASSWORD = "first@example.com", "a long enough password"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded") / "a data folder"


@pytest.fixture(scope="module")
def platform(data: Path) -> Iterator[PlatformProcess]:
    """The first start of the folder; the tests of this module run in order and the last ones stop it."""
    started = PlatformProcess(data)
    started.wait_until_ready()
    yield started
    if started.process.poll() is None:
        started.stop(signal.SIGTERM)


@pytest.fixture(scope="module")
def url(platform: PlatformProcess) -> str:
    return platform.wait_until_ready()["url"]


def _fill_in(browser: httpx.Client, page: str, **fields: str) -> httpx.Response:
    shown = browser.get(page)
    assert shown.status_code == 200, shown.text
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', shown.text))
    assert "csrf_token" in hidden
    return browser.post(page, data=hidden | fields)


def _eventually(holds: Callable[[], bool], within_s: float = 30) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.1)
    return holds()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_first_start_says_where_it_is_how_to_sign_in_and_what_to_back_up(platform: PlatformProcess, data: Path) -> None:
    ready = platform.wait_until_ready()
    assert ready["advice"].startswith(f"create the first administrator at {ready['url']}/setup?token=")
    assert len(platform.out) == 2
    assert platform.out[0].startswith(f"Back up {data / 'keys'} apart from the rest")


def test_keys_and_sockets_are_closed_to_other_users(platform: PlatformProcess, data: Path) -> None:
    sockets = _socket_folder(data)
    for path, mode in (
        (data / "keys", 0o700),
        (data / "keys" / "master.key", 0o600),
        (sockets, 0o700),
        (sockets / "broker.sock", 0o600),
        (sockets / "cache.sock", 0o600),
    ):
        assert stat.S_IMODE(path.stat().st_mode) == mode, path


def test_pages_and_the_api_behind_them_answer(url: str) -> None:
    assert _answers(url)
    refused = httpx.get(f"{url}/v1/models", trust_env=False)
    assert refused.status_code == 401
    assert refused.json()["error"]["message"]


def test_a_second_platform_on_the_same_data_is_refused_with_the_reason(platform: PlatformProcess, data: Path) -> None:
    second = PlatformProcess(data)
    assert second.ended() == 2
    assert f"{data} is already in use by another Idiolect (process {platform.process.pid})" in second.err[-1]
    assert not second.out


def test_a_taken_port_is_said_with_the_way_out(url: str, tmp_path: Path) -> None:
    port = int(url.rpartition(":")[2])
    other = PlatformProcess(tmp_path / "other", port=port)
    assert other.ended() == 2
    assert f"port {port} is taken by another program" in other.err[-1]
    assert "make run PORT=" in other.err[-1]
    assert not (tmp_path / "other").exists()


def test_a_wrong_setting_of_training_is_one_line_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDIOLECT_DTYPE", "float17")
    refused = PlatformProcess(tmp_path / "data")
    assert refused.ended() == 2
    assert refused.err[-1].startswith("idiolect: IDIOLECT_DTYPE must be one of auto, float32")
    assert not (tmp_path / "data").exists()


def test_https_without_a_trusted_proxy_is_warned_of_at_the_terminal(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDIOLECT_PUBLIC_URL", "https://idiolect.example")
    other = PlatformProcess(tmp_path / "other", port=int(url.rpartition(":")[2]))
    assert other.ended() == 2  # the port is taken
    (warning,) = [line for line in other.err if "warning" in line]
    assert "IDIOLECT_TRUSTED_PROXIES is 0" in warning


def test_the_link_makes_the_first_administrator(platform: PlatformProcess) -> None:
    ready = platform.wait_until_ready()
    link = ready["advice"].rpartition(" ")[2]
    with httpx.Client(base_url=ready["url"], trust_env=False) as browser:
        assert _fill_in(browser, link, email=EMAIL, password=PASSWORD).status_code in (302, 303)
        assert browser.get("/admin/", follow_redirects=True).status_code == 200


@pytest.mark.parametrize(
    ("name", "word"), [("web", "app.web.factory"), ("worker", "celery"), ("broker", "broker.sock")]
)
def test_a_killed_part_is_started_again(platform: PlatformProcess, url: str, data: Path, name: str, word: str) -> None:
    killed = pid_of(data, word)
    os.kill(killed, signal.SIGKILL)
    said = f"idiolect: the {name} was killed by signal 9; it is started again"
    assert _eventually(lambda: any(line.startswith(said) for line in platform.err))
    assert _eventually(lambda: any(word in _command(pid) for pid in processes_of(data) if pid != killed))
    assert _eventually(lambda: _answers(url))


def test_ctrl_c_stops_everything_and_leaves_nothing_behind(platform: PlatformProcess, url: str, data: Path) -> None:
    sockets = _socket_folder(data)
    assert platform.stop(signal.SIGINT) == 0
    assert not processes_of(data)
    assert not sockets.exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0


def test_the_next_start_still_has_everything_and_a_killed_supervisor_takes_all_parts_with_it(
    platform: PlatformProcess, data: Path
) -> None:
    again = PlatformProcess(data)
    ready = again.wait_until_ready()
    assert again.out == [ready.group()]  # nothing to back up anew
    assert ready["advice"] == f"sign in at {ready['url']}/signin"
    with httpx.Client(base_url=ready["url"], trust_env=False) as browser:
        assert _fill_in(browser, "/signin", email=EMAIL, password=PASSWORD).status_code in (302, 303)
    again.process.kill()
    again.ended()
    assert _eventually(lambda: not processes_of(data), within_s=15)


def test_a_wrong_master_key_is_one_line_and_touches_nothing(platform: PlatformProcess, data: Path) -> None:
    key = data / "keys" / "master.key"
    right = key.read_text()
    before = {path: path.read_bytes() for path in (data / "keys" / "keys.db", data / "db" / "idiolect.sqlite")}
    key.write_text("ab" * 32)
    refused = PlatformProcess(data)
    assert refused.ended() == 2
    key.write_text(right)
    assert not refused.out
    assert f"{key} is not the key" in refused.err[-1]
    assert len(refused.err) == 2  # "starting", and why not
    assert before == {path: path.read_bytes() for path in before}


def test_a_lost_master_key_is_not_replaced(platform: PlatformProcess, data: Path) -> None:
    key = data / "keys" / "master.key"
    kept = key.rename(data / "elsewhere")
    refused = PlatformProcess(data)
    assert refused.ended() == 2
    assert not key.exists()
    kept.rename(key)
    assert f"{key} is missing" in refused.err[-1]


def _socket_folder(data: Path) -> Path:
    command = _command(pid_of(data, "broker.sock")).split("\0")
    return Path(next(part for part in command if part.endswith("broker.sock"))).parent


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except OSError:
        return ""
