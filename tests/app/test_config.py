"""What the web and API roles refuse to start with."""

import pytest

from app.api import server
from app.config import API_THREADS, AppConfig
from app.errors import ConfigurationError


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"IDIOLECT_MAX_WAITING": "-1"}, "IDIOLECT_MAX_WAITING must be 0 or more"),
        ({"IDIOLECT_MAX_WAITING": "128"}, "less than 160 together"),
        ({"IDIOLECT_MAX_NUM_SEQS": "64"}, "less than 160 together"),
        ({"IDIOLECT_MAX_NUM_SEQS": "0"}, "IDIOLECT_MAX_NUM_SEQS must be at least 1"),
    ],
)
def test_a_batch_and_a_queue_that_leave_no_thread_are_refused(env: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        AppConfig.from_env(env)


def test_the_server_has_the_threads_that_are_counted_on() -> None:
    assert server.threads == API_THREADS
    assert AppConfig.from_env({"IDIOLECT_MAX_WAITING": "0"}).max_waiting == 0
    assert AppConfig.from_env({"IDIOLECT_MAX_WAITING": "127"}).max_waiting == 127
