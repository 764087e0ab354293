"""The one folder that survives a restart: its layout, its lock, its master key and the room left on its disk.

Knows nothing of processes or of what is inside the databases.

    data/  lock  db/idiolect.sqlite  keys/keys.db  keys/master.key  broker/ (append-only file)  logs/
"""

import contextlib
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
LOCK = "lock"
PARTS = ("db", "keys", "broker", "logs")


class DataFolder:
    """An opened, locked data folder. Close it to let another platform have it.

    path: the absolute folder. lock: file descriptor that carries the lock; whoever inherits it holds the lock too.
    """

    def __init__(self, path: Path, lock: int, made: list[Path]) -> None:
        self.path = path
        self.lock = lock
        self._made = made  # the folders that this start made, innermost first
        self.database = path / "db" / "idiolect.sqlite"
        self.keys = path / "keys"
        self.key_store = self.keys / "keys.db"
        self.master_key = self.keys / "master.key"
        self.broker = path / "broker"
        self.logs = path / "logs"

    @classmethod
    def open(cls, path: Path) -> Self:
        """Make what is missing and take the lock. Raises CannotStart with the sentence to show."""
        made: list[Path] = []
        try:
            made += _make(path, 0o777)
            _require_room(path)
            folder = cls(path, _take_lock(path), made)
            for part in PARTS:
                made[:0] = _make(path / part, 0o700)
            folder.keys.chmod(0o700)
        except OSError as wrong:
            _remove_empty(made)
            raise CannotStart(_plainly(path, wrong)) from wrong
        except CannotStart:
            _remove_empty(made)
            raise
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
        """Release the lock. Of a folder that was made for nothing, since this start was refused, nothing is left."""
        _remove_empty([path for path in self._made if path.parent == self.path])
        if self.path in self._made and [path.name for path in self.path.iterdir()] == [LOCK]:
            (self.path / LOCK).unlink()
            _remove_empty(self._made)
        os.close(self.lock)


def _make(path: Path, mode: int) -> list[Path]:
    """Make a folder, and those it lies in; the ones that were not there, innermost first."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    """Remove those of them that hold nothing, which have to come innermost first."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _require_room(path: Path) -> None:
    free = shutil.disk_usage(path).free
    if free < FREE_FLOOR_BYTES:
        raise CannotStart(
            f"the disk that holds {path} is almost full: {free // 1024**2} MB are free and "
            f"{FREE_FLOOR_BYTES // 1024**2} MB are needed; make room, or choose another folder with DATA=…"
        )


def _take_lock(path: Path) -> int:
    lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
            if not os.fstat(lock).st_nlink:  # whoever held it was refused and took its new folder away again
                os.close(lock)
                return _take_lock(path)
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
