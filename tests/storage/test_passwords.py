import threading
import time
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher

from storage import passwords


class Slow(PasswordHasher):
    """Takes its time, and remembers how many worked at once."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        with self.lock:
            self.now -= 1
        return super().hash(password, salt=salt)


def test_no_more_than_four_passwords_are_hashed_at_once() -> None:
    hasher = Slow()
    with ThreadPoolExecutor(12) as many:
        made = list(many.map(lambda n: passwords.hashed(f"plum jam {n}", hasher), range(12)))
    assert hasher.most == 4
    assert passwords.is_right(made[3], "plum jam 3", hasher)
    assert not passwords.is_right(made[3], "plum jam 4", hasher)
