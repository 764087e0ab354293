"""A mail server for tests: takes letters over a real socket, with STARTTLS, TLS or neither, and keeps them."""

import base64
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Mailbox:
    """What arrived, and how the server behaves. refuses: answers to RCPT until it is empty again."""

    port: int = 0
    letters: list[EmailMessage] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    were_secure: list[bool] = field(default_factory=list)
    refuses: str = ""
    offers_tls: bool = True


@contextmanager
def running_mailbox(certificate: Path | None = None, *, tls_at_once: bool = False) -> Iterator[Mailbox]:
    """Serve on 127.0.0.1 until the block is left. certificate: a file with certificate and key."""
    box, context = Mailbox(), None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    class Talk(socketserver.BaseRequestHandler):
        """One conversation."""

        def handle(self) -> None:
            with suppress(OSError), ExitStack() as opened:  # the other side hung up, or trusts no such certificate
                _converse(self.request, box, context, tls_at_once, opened)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as server:
        server.daemon_threads = True
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()


def _converse(
    connection: socket.socket,
    box: Mailbox,
    context: ssl.SSLContext | None,
    tls_at_once: bool,
    opened: ExitStack,
) -> None:
    secure = False
    if tls_at_once and context:
        connection, secure = opened.enter_context(context.wrap_socket(connection, server_side=True)), True
    stream = opened.enter_context(connection.makefile("rb"))

    def say(line: str) -> None:
        connection.sendall(f"{line}\r\n".encode())

    say("220 here")
    while line := stream.readline().decode().strip():
        match line.upper().split()[0]:
            case "EHLO":
                say("250-here")
                if context and box.offers_tls and not secure:
                    say("250-STARTTLS")
                say("250 AUTH PLAIN")
            case "STARTTLS" if context:
                say("220 go on")
                stream.close()
                connection, secure = opened.enter_context(context.wrap_socket(connection, server_side=True)), True
                stream = opened.enter_context(connection.makefile("rb"))
            case "AUTH":
                _, name, password = base64.b64decode(line.split()[2]).decode().split("\0")
                box.logins.append((name, password))
                say("235 come in")
            case "RCPT" if box.refuses:
                say(box.refuses)
            case "DATA":
                say("354 go on")
                data = b""
                while (piece := stream.readline()) != b".\r\n":
                    data += piece
                box.letters.append(message_from_bytes(data, _class=EmailMessage, policy=policy.default))  # type: ignore[arg-type]
                box.were_secure.append(secure)
                say("250 kept")
            case "QUIT":
                say("221 bye")
                return
            case _:
                say("250 well")


def make_certificate(folder: Path, *, with_number: bool = True) -> Path:
    """A certificate for localhost (and 127.0.0.1) that signs itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    number = [x509.IPAddress(ip_address("127.0.0.1"))] if with_number else []
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), *number])
    at = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    path = folder / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, form, plain)
    )
    return path
