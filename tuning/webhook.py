"""One signed POST to an address that a person chose: never into our own network, and never to another machine than the
one that was looked at.

The form is that of Standard Webhooks, which OpenAI's client verifies too: `webhook-id` is the same for every copy of a
notice, and the signature covers it, the time and the body. Knows no table, and nothing of what a notice says.
"""

import base64
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from storage import clock
from tuning.errors import Undelivered

TIMEOUT_S = 5.0  # of finding the machine, of reaching it, and of each of its answers
DEADLINE_S = 10.0  # of all that is said there
GONE = 410  # by the specification: the receiver wants no more
# Addresses of the new kind in which one of the old kind is hidden; the way there is decided by whoever translates.
TRANSLATED = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")))
# What Python calls global and is not: relays, documentation, and where a provider's own agent listens.
NOT_FOR_EVERYBODY = tuple(map(ipaddress.ip_network, ("192.88.99.0/24", "168.63.129.16/32", "3fff::/20")))
LOOK_UP = """
import socket, sys
host, port = sys.stdin.read().split()
for entry in socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM):
    print(entry[4][0])
"""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Notice:
    """id: the same for every copy. body: JSON. secret: "whsec_…", with which it is signed."""

    id: str
    url: str
    secret: str
    body: bytes


def send(notice: Notice, *, inside: bool) -> None:
    """Send it, within twenty seconds or not at all. inside: private addresses, and http, are allowed. Raises
    Undelivered: for good where the receiver says that it is gone, else to be tried again."""
    url = urlsplit(notice.url)
    host, tls = url.hostname or "", url.scheme == "https"
    if not tls and not inside:
        raise Undelivered("no_tls")
    port = url.port or (443 if tls else 80)
    address = _resolved(host, port, inside=inside)
    try:
        # The connection goes to the address that was looked at; the name is what the certificate must be for.
        with _connected(address, port, host if tls else None) as connection:
            status = _posted(connection, url, notice)
    except (http.client.HTTPException, OSError):
        raise Undelivered("unreachable") from None
    if not 200 <= status < 300:
        raise Undelivered(f"answered_{status}", final=status == GONE)


@contextmanager
def _connected(address: Address, port: int, name: str | None) -> Iterator[socket.socket]:
    """A connection that is cut after DEADLINE_S, however busy the other side looks. name: of its certificate."""
    with socket.create_connection((str(address), port), TIMEOUT_S) as plain:
        if name is None:
            yield from _until_the_deadline(plain)
            return
        context = ssl.create_default_context()
        with context.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False) as secure:
            yield from _until_the_deadline(secure)


def _until_the_deadline(connection: socket.socket) -> Iterator[socket.socket]:
    cut = threading.Timer(DEADLINE_S, connection.shutdown, [socket.SHUT_RDWR])
    cut.start()
    try:
        if isinstance(connection, ssl.SSLSocket):
            connection.do_handshake()
        yield connection
    finally:
        cut.cancel()
        cut.join()  # before the socket's number can be another's


def _posted(connection: socket.socket, url: SplitResult, notice: Notice) -> int:
    """The status of the answer; what else it says is not read."""
    at = str(int(clock.now()))
    headers = {
        "Host": url.netloc,
        "Content-Type": "application/json",
        "User-Agent": "Idiolect",
        "webhook-id": notice.id,
        "webhook-timestamp": at,
        "webhook-signature": signature(notice, at),
    }
    talk = http.client.HTTPConnection(url.hostname or "")
    talk.sock = connection
    talk.request("POST", f"{url.path or '/'}{'?' if url.query else ''}{url.query}", notice.body, headers)
    answer = talk.getresponse()
    answer.close()
    return answer.status


def signature(notice: Notice, at: str) -> str:
    """Of a copy that is sent at this time, in whole seconds."""
    key = base64.b64decode(notice.secret.removeprefix("whsec_"))
    signed = b".".join((notice.id.encode(), at.encode(), notice.body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def is_public(address: Address) -> bool:
    """Whether this is a place that everybody can reach, and not one of ours, of this machine or of a provider."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if any(address in network for network in TRANSLATED) or address.is_site_local:
            return False
    if any(address in network for network in NOT_FOR_EVERYBODY if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _resolved(host: str, port: int, *, inside: bool) -> Address:
    """Where this name leads to now. One private address among them, and nothing is sent at all."""
    try:
        addresses = [ipaddress.ip_address(place.partition("%")[0]) for place in _looked_up(host, port)]
    except subprocess.TimeoutExpired:
        raise Undelivered("unreachable") from None
    except (subprocess.CalledProcessError, OSError, ValueError):
        raise Undelivered("unknown_name") from None
    if not inside and not all(map(is_public, addresses)):
        raise Undelivered("private_address")
    return addresses[0]


def _looked_up(host: str, port: int) -> list[str]:
    """The addresses of this name. A process of its own asks for them, since nothing else ends the system's look-up when
    a name server is slow, and a thread left in it could be there when the worker forks. Raises TimeoutExpired after
    TIMEOUT_S, CalledProcessError where there is no such name."""
    ask = [sys.executable, "-I", "-S", "-c", LOOK_UP]
    name = f"{host} {port}"
    found = subprocess.run(  # noqa: S603 - this very Python; the name is no argument
        ask, input=name, capture_output=True, encoding="utf-8", timeout=TIMEOUT_S, check=True
    )
    return found.stdout.split()
