"""The queue on a real broker: what importing it costs, what is sent, how long a missing broker is waited for."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from celery import Celery

from tests.servers import ValkeyServer, short_folder, start_valkey
from tests.waiting import Failed, failed_calls
from tuning import celery_app as queue
from tuning.celery_app import QUEUE, enqueue_report, enqueue_tuning, queue_length
from tuning.tasks import report_voice


@dataclass
class Broker:
    """The queue's server of one test: not started yet."""

    socket: Path
    server: ValkeyServer | None = None

    def start(self) -> None:
        self.server = start_valkey(self.socket)

    def kill(self) -> None:
        if self.server:
            self.server.process.kill()
            self.server.process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self.server
        self.server.process.send_signal(number)

    def messages(self) -> list[bytes]:
        assert self.server
        with self.server.client() as client:
            return list(client.lrange(QUEUE, 0, -1))


@pytest.fixture
def broker() -> Iterator[Broker]:
    with short_folder() as folder:
        later = Broker(folder / "broker.sock")
        yield later
        later.kill()


@pytest.fixture(autouse=True)
def configured(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module's app, freshly configured for this test's broker."""
    monkeypatch.setenv("IDIOLECT_BROKER_URL", f"redis+socket://{broker.socket}")
    monkeypatch.setenv("IDIOLECT_LEASE_S", "12")
    fresh = Celery("idiolect", set_as_current=False)
    fresh.add_defaults(queue._settings)
    monkeypatch.setattr(queue, "celery_app", fresh)
    yield
    fresh.close()


def enqueue_in_vain(run_id: str) -> Failed:
    """Send where no broker takes it: the one attempt that it was worth."""
    with failed_calls() as failed:
        assert not enqueue_tuning(run_id)
    (only,) = failed
    return only


def test_importing_the_queue_loads_no_torch_and_reads_no_setting() -> None:
    look = (
        "import sys, tuning.celery_app, tuning.tasks, tuning.sweeper; "
        "print([n for n in ('torch', 'transformers', 'flask', 'tuning.tuning_job') if n in sys.modules])"
    )
    wrong = {"IDIOLECT_LEASE_S": "not a number"}
    done = subprocess.run([sys.executable, "-c", look], env=wrong, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_a_message_is_json_and_holds_the_run_id_alone(broker: Broker) -> None:
    broker.start()
    assert enqueue_tuning("run-1")
    (raw,) = broker.messages()
    message = json.loads(raw)
    assert message["content-type"] == "application/json"
    assert message["headers"]["task"] == "tuning.tune_prefix"
    assert message["headers"]["id"] == "run-1"
    assert message["headers"]["argsrepr"] == "['run-1']"


def test_messages_are_acknowledged_late_one_at_a_time_and_come_back_after_one_lease() -> None:
    conf = queue.celery_app.conf
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost, conf.worker_prefetch_multiplier) == (True, True, 1)
    assert (conf.accept_content, conf.task_serializer) == (["json"], "json")
    assert not conf.result_backend
    options = conf.broker_transport_options
    assert (options["visibility_timeout"], options["unacked_restore_interval"]) == (12, 2.0)
    assert options["unacked_restore_throttle"] == 1


def test_without_a_broker_address_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDIOLECT_BROKER_URL", "")
    assert enqueue_tuning("run-1") is False


def test_a_unix_url_means_the_same_as_celerys_own(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDIOLECT_BROKER_URL", f"unix://{broker.socket}")
    broker.start()
    assert enqueue_tuning("run-1")


def test_a_dead_broker_is_not_waited_for_and_is_used_again_once_it_is_back(broker: Broker) -> None:
    assert enqueue_in_vain("run-1").error is FileNotFoundError
    assert queue_length() is None
    broker.start()
    assert enqueue_tuning("run-1")
    broker.kill()
    assert enqueue_in_vain("run-2").error is ConnectionRefusedError
    broker.start()
    assert enqueue_tuning("run-3")
    assert queue_length() == 1


def test_a_frozen_broker_is_waited_for_about_a_second(broker: Broker) -> None:
    broker.start()
    assert enqueue_tuning("run-1")
    broker.signal(signal.SIGSTOP)
    assert enqueue_in_vain("run-2") == Failed(TimeoutError, 1.0)  # by the connection that is open
    assert enqueue_in_vain("run-3") == Failed(TimeoutError, 1.0)  # by a new one
    broker.signal(signal.SIGCONT)
    assert enqueue_tuning("run-4")


def test_an_unreachable_tcp_broker_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDIOLECT_BROKER_URL", "redis://127.0.0.1:1/0")
    assert enqueue_in_vain("run-1") == Failed(ConnectionRefusedError, 1.0)


def test_a_report_goes_behind_what_waits_and_is_delivered_once_at_most(broker: Broker) -> None:
    broker.start()
    assert enqueue_tuning("run-1")
    assert enqueue_report("run-1")
    newest, oldest = map(json.loads, broker.messages())
    assert oldest["headers"]["task"] == "tuning.tune_prefix"
    assert (newest["headers"]["task"], newest["headers"]["argsrepr"]) == ("tuning.report_voice", "['run-1']")
    assert newest["headers"]["id"] != oldest["headers"]["id"]
    assert report_voice.acks_late is False
