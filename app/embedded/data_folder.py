"""The one folder that survives a restart: its layout, its lock, its master key and the room left on its disk.

Knows nothing of processes or of what is inside the databases.

    data/  lock  db/idiolect.sqlite  keys/keys.db  keys/master.key  broker/ (append-only file)  logs/
"""

import errno
import fcntl
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Self

from app.embedded.errors import CannotStart

FREE_FLOOR_BYTES = 500 * 1024 * 1024
LOCK_PATIENCE_S = 1.5  # a platform that was just killed takes its broker, which holds the lock too, with it
MASTER_KEY_BYTES = 32


class DataFolder:
    """An opened, locked data folder. Close it to let another platform have it.

    path: the absolute folder. lock: file descriptor that carries the lock; whoever inherits it holds the lock too.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock
        self.database = path / "db" / "idiolect.sqlite"
        self.key_store = path / "keys" / "keys.db"
        self.master_key = path / "keys" / "master.key"
        self.broker = path / "broker"
        self.logs = path / "logs"

    @classmethod
    def open(cls, path: Path) -> Self:
        """Make what is missing and take the lock. Raises CannotStart with the sentence to show."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            _require_room(path)
            folder = cls(path, _take_lock(path))
            for part, mode in (("db", 0o700), ("keys", 0o700), ("broker", 0o700), ("logs", 0o700)):
                (path / part).mkdir(mode=mode, exist_ok=True)
            (path / "keys").chmod(0o700)
        except OSError as wrong:
            raise CannotStart(_plainly(path, wrong)) from wrong
        return folder

    def ensure_master_key(self) -> bool:
        """Generate the master key if this is the first run; True if it was. Raises CannotStart if it has been lost."""
        if self.master_key.exists():
            self.master_key.chmod(0o600)
            return False
        if self.key_store.exists():
            raise CannotStart(
                f"{self.master_key} is missing, and without it nothing in {self.path} can be read; "
                "put it back from your backup (another key will not do)"
            )
        _write_secret(self.master_key, secrets.token_hex(MASTER_KEY_BYTES) + "\n")
        return True

    def close(self) -> None:
        """Release the lock."""
        os.close(self.lock)


def _require_room(path: Path) -> None:
    free = shutil.disk_usage(path).free
    if free < FREE_FLOOR_BYTES:
        raise CannotStart(
            f"the disk that holds {path} is almost full: {free // 1024**2} MB are free and "
            f"{FREE_FLOOR_BYTES // 1024**2} MB are needed; make room, or choose another folder with DATA=…"
        )


def _take_lock(path: Path) -> int:
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.read(lock, 32).decode("ascii", "replace").strip()
                os.close(lock)
                raise CannotStart(
                    f"{path} is already in use by another Idiolect (process {holder}); stop that one first, "
                    "or start this one on its own with make run DATA=another-folder PORT=8010"
                ) from None
            time.sleep(0.1)
        else:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            return lock


def _write_secret(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _plainly(path: Path, wrong: OSError) -> str:
    if wrong.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk that holds {path} is full; make room, or choose another folder with DATA=…"
    where = wrong.filename or path
    return f"cannot use {where} as part of the data folder: {wrong.strerror}; choose another folder with DATA=…"
