"""The platform's own addresses for one run: the HTTP roles' listening sockets, a private folder of unix sockets.

The supervisor binds and keeps the TCP sockets; the roles inherit them. So a port can't be lost between looking and
binding, and a caller who arrives while a role restarts waits instead of being refused.
"""

import errno
import shutil
import socket
import tempfile
from pathlib import Path

from app.embedded.errors import CannotStart

HOST = "127.0.0.1"
MAX_SOCKET_PATH = 100  # the kernel's limit is 108 bytes on Linux and 104 on macOS


class Addresses:
    """Sockets of one platform. web, api: bound, on 127.0.0.1. sockets: folder of mode 700, outside the data."""

    def __init__(self, port: int) -> None:
        self.web = _bind(port)
        self.api = _bind(0)
        self.sockets = _private_folder()

    @property
    def web_url(self) -> str:
        """Where people reach the web role on this machine."""
        return f"http://{HOST}:{self.web.getsockname()[1]}"

    @property
    def api_url(self) -> str:
        """Where the web role's gateway reaches the API role."""
        return f"http://{HOST}:{self.api.getsockname()[1]}"

    def close(self) -> None:
        """Give the ports back and remove the folder of sockets."""
        self.web.close()
        self.api.close()
        shutil.rmtree(self.sockets, ignore_errors=True)


def _bind(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(1024)
    except OSError as wrong:
        listener.close()
        if wrong.errno == errno.EADDRINUSE:
            raise CannotStart(
                f"port {port} is taken by another program on this machine; stop it, or choose another port: "
                f"make run PORT={port + 10 if port < 65000 else 8010}"
            ) from wrong
        raise CannotStart(
            f"cannot listen on port {port}: {wrong.strerror}; choose another: make run PORT=8010"
        ) from wrong
    return listener


def _private_folder() -> Path:
    """A new folder of mode 700 with a path short enough for a unix socket."""
    parent = tempfile.gettempdir()
    if len(parent) > MAX_SOCKET_PATH - len("/idiolect-12345678/broker.sock"):
        parent = "/tmp"  # noqa: S108 - mkdtemp makes a private folder in it
    try:
        return Path(tempfile.mkdtemp(prefix="idiolect-", dir=parent))
    except OSError as wrong:
        raise CannotStart(f"cannot make a folder for sockets in {parent}: {wrong.strerror}") from wrong
