"""What docs/deployment.md tells operators to set is what the code and the compose file need."""

import re
from configparser import ConfigParser

from app.config import MULTIPART_BYTES
from app.web.voice_page import MOST_UPLOAD_BYTES
from storage.training_file import MAX_UPLOAD_BYTES
from tests.source_tree import ROOT

PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
MIB = 1024 * 1024  # what nginx calls m


def test_the_proxy_lets_the_largest_bodies_through() -> None:
    (lets,) = re.findall(r"client_max_body_size (\d+)m", PAGE)
    largest = max(MOST_UPLOAD_BYTES, MAX_UPLOAD_BYTES + MULTIPART_BYTES)
    assert largest <= int(lets) * MIB <= largest + MIB
    assert f"take {MOST_UPLOAD_BYTES // MIB}, training files over the API {MAX_UPLOAD_BYTES // 1_000_000}" in PAGE


def test_the_service_may_write_where_it_keeps_its_data() -> None:
    """/var/lib is root's, so systemd has to make the folder."""
    (unit,) = re.findall(r"^```ini\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    service = ConfigParser(interpolation=None)
    service.read_string(unit)
    assert f"--data /var/lib/{service['Service']['StateDirectory']}" in service["Service"]["ExecStart"]
