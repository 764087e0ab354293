"""Signed POSTs over real sockets: to whom they go, and to whom never."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from tests.mailbox import make_certificate
from tuning import webhook
from tuning.errors import Undelivered
from tuning.webhook import Notice, is_public, send

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
BODY = b'{"type": "tuning_run.ended", "id": "delivery-1"}'


@dataclass
class Receiver:
    """What came, and what is answered."""

    port: int = 0
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    came: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)  # path, headers, body


@contextmanager
def listening(certificate: Path | None = None) -> Iterator[Receiver]:
    """Serve on 127.0.0.1 until the block is left."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.came.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(receiver.status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Who trusts no such certificate hangs up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as running:
        yield running


def notice(url: str) -> Notice:
    return Notice("delivery-1", url, SECRET, BODY)


def reason(url: str, *, inside: bool = False) -> tuple[str, bool]:
    """Why it was not sent, and whether for good."""
    with pytest.raises(Undelivered) as wrong:
        send(notice(url), inside=inside)
    return wrong.value.reason, wrong.value.final


def test_it_arrives_signed_and_openais_client_believes_it(receiver: Receiver) -> None:
    send(notice(f"http://localhost:{receiver.port}/hooks?a=b"), inside=True)
    ((path, headers, body),) = receiver.came
    assert (path, body) == ("/hooks?a=b", BODY)
    assert headers["host"] == f"localhost:{receiver.port}"
    assert headers["webhook-id"] == "delivery-1"
    client = OpenAI(api_key="none", webhook_secret=SECRET)
    client.webhooks.verify_signature(body.decode(), headers)
    with pytest.raises(InvalidWebhookSignatureError):
        client.webhooks.verify_signature(body.decode() + " ", headers)
    with pytest.raises(InvalidWebhookSignatureError):
        client.webhooks.verify_signature(body.decode(), {**headers, "webhook-id": "delivery-2"})


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "0.0.0.0", "127.1", "2130706433", "[::ffff:127.0.0.1]"]
)
def test_nothing_is_sent_to_this_machine_by_whatever_name(receiver: Receiver, host: str) -> None:
    assert reason(f"https://{host}:{receiver.port}/")[0] in ("private_address", "unknown_name")
    assert receiver.came == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("::127.0.0.1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
        ("2001:0:7f00:1::", False),
        ("fec0::1", False),
        ("3fff::1", False),
        ("168.63.129.16", False),
        ("192.88.99.1", False),
    ],
)
def test_which_addresses_everybody_can_reach(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


def test_only_over_tls(receiver: Receiver) -> None:
    assert reason(f"http://localhost:{receiver.port}/") == ("no_tls", False)
    assert receiver.came == []


def test_the_certificate_must_be_for_the_name_and_not_for_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path, with_number=False)
    with listening(certificate) as receiver:
        assert reason(f"https://localhost:{receiver.port}/", inside=True) == ("unreachable", False)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert reason(f"https://127.0.0.1:{receiver.port}/", inside=True) == ("unreachable", False)
        assert receiver.came == []
        send(notice(f"https://localhost:{receiver.port}/"), inside=True)
        assert len(receiver.came) == 1


def test_it_follows_nobody_elsewhere(receiver: Receiver) -> None:
    with listening() as elsewhere:
        receiver.status, receiver.headers = 307, {"Location": f"http://localhost:{elsewhere.port}/"}
        assert reason(f"http://localhost:{receiver.port}/", inside=True) == ("answered_307", False)
        assert elsewhere.came == []


@pytest.mark.parametrize(("status", "final"), [(500, False), (404, False), (429, False), (410, True)])
def test_an_answer_that_is_no_success_is_tried_again_unless_the_receiver_is_gone(
    receiver: Receiver, status: int, final: bool
) -> None:
    receiver.status = status
    assert reason(f"http://localhost:{receiver.port}/", inside=True) == (f"answered_{status}", final)


def test_a_receiver_that_never_ends_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "DEADLINE_S", 0.3)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                while not ended.wait(0.02):
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

        thread = threading.Thread(target=drip)
        thread.start()
        assert reason(f"http://localhost:{server.getsockname()[1]}/", inside=True) == ("unreachable", False)
        ended.set()
        thread.join()


def test_a_name_server_that_lets_one_wait_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "LOOK_UP", "import sys; sys.stdin.read(); import time; time.sleep(600)")
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.3)
    assert reason("https://example.org/") == ("unreachable", False)


def test_nobody_there_and_no_such_name() -> None:
    assert reason("http://127.0.0.1:1/", inside=True) == ("unreachable", False)
    assert reason("https://nobody.invalid/") == ("unknown_name", False)
