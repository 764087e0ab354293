"""Real Celery workers as processes of their own, on a real broker, training a real (tiny) model: from a kept request to
a published voice, through a dead broker, a cancel, two people at once and a `kill -9`."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from celery import Celery

from app.generation.engine import Engine
from app.generation.sampling import SamplingParams
from storage import crypto, maintenance, notices, prefixes, schema, tuning_runs, workers
from storage.config import StorageConfig
from storage.errors import IntegrityError
from storage.run_claims import Claim
from storage.store import Storage
from tests.factories import add_samples, first_voice, make_run, make_user
from tests.mailbox import Mailbox, running_mailbox
from tests.servers import ValkeyServer, short_folder, start_valkey
from tests.tiny_model import make_tiny, make_tokenizer, save_tiny
from tests.tuning.runs import LINE, Asked
from tuning import celery_app as queue
from tuning.base_model import BaseModel, load_base_model
from tuning.config import TuningConfig
from tuning.dataset import Block, Split, WrittenText, build_split
from tuning.going_on import begin
from tuning.prefix import Prefix
from tuning.training import TrainingSettings
from tuning.workbench import Bench

pytestmark = pytest.mark.timeout(240)

MAX_STEPS = 400
MANY_LINES = 30
LEASE_S = 3.0
COMMAND = (sys.executable, "-m", "celery", "-A", "tuning.celery_app", "worker", "--pool", "prefork")
OPTIONS = ("--concurrency", "1", "--loglevel", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat")


def pieces(about: str, lines: int = 3) -> tuple[str, ...]:
    """Six pieces of one repetitive hand, which a prefix learns even on random weights."""
    return tuple(f"Piece {number} of {about}. {LINE * lines}{about}." for number in range(6))


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come to pass in {seconds:.0f} s"
        time.sleep(0.05)


@dataclass
class Platform:
    """Storage, broker, cache, mail server and settings that workers share. log_folder: one log file per worker."""

    storage: Storage
    environment: dict[str, str]
    log_folder: Path
    broker_socket: Path
    cache: ValkeyServer
    mailbox: Mailbox
    broker: ValkeyServer | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_broker(self) -> None:
        self.broker = start_valkey(self.broker_socket)

    def start_worker(self) -> subprocess.Popen[bytes]:
        with (self.log_folder / f"worker-{len(self.workers)}.log").open("wb") as log:
            command = (*COMMAND, *OPTIONS)
            worker = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.workers.append(worker)
        return worker

    def worker_of(self, asked: Asked) -> subprocess.Popen[bytes]:
        """The worker that has the run."""
        name = str(asked.run().worker)
        (found,) = [worker for worker in self.workers if name.endswith(f":{worker.pid}")]
        return found

    def ask(self, about: str, lines: int = 3) -> Asked:
        """MANY_LINES: of a training that lasts long enough to be interrupted."""
        user = make_user(self.storage)
        voice = first_voice(self.storage, user)
        add_samples(self.storage, user, voice, pieces(about, lines))
        return Asked(self.storage, user, voice.id, make_run(self.storage, user, voice).id)

    def log(self, number: int) -> str:
        return (self.log_folder / f"worker-{number}.log").read_text(errors="replace")

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        for server in (self.broker, self.cache):
            if server:
                server.stop()
        self.storage.close()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform whose broker is down and that has no worker yet."""
    folder = tmp_path_factory.mktemp("platform")
    (folder / "logs").mkdir()
    with short_folder() as sockets, running_mailbox() as mailbox, pytest.MonkeyPatch.context() as patch:
        cache = start_valkey(sockets / "cache.sock")
        config = StorageConfig(
            database_url=f"sqlite:///{folder}/data.db",
            key_store_url=f"sqlite:///{folder}/keys.db",
            cache_url=f"unix://{cache.socket}",
            master_key=os.urandom(32),
        )
        schema.upgrade(config)
        environment = os.environ | {
            "IDIOLECT_DATABASE_URL": config.database_url,
            "IDIOLECT_KEY_STORE_URL": config.key_store_url,
            "IDIOLECT_CACHE_URL": config.cache_url,
            "IDIOLECT_MASTER_KEY": config.master_key.hex(),
            "IDIOLECT_BROKER_URL": f"redis+socket://{sockets / 'broker.sock'}",
            "IDIOLECT_BASE_MODEL": str(save_tiny("llama", folder / "tiny")),
            "IDIOLECT_DEVICE": "cpu",
            "IDIOLECT_NUM_THREADS": "1",
            "IDIOLECT_NUM_VIRTUAL_TOKENS": "8",
            "IDIOLECT_MAX_STEPS": str(MAX_STEPS),
            "IDIOLECT_LEASE_S": str(LEASE_S),
            "IDIOLECT_SMTP_URL": f"smtp+plain://127.0.0.1:{mailbox.port}",
            "IDIOLECT_MAIL_FROM": "idiolect@example.org",
            "PYTHONUNBUFFERED": "1",
        }
        patch.setenv("IDIOLECT_BROKER_URL", environment["IDIOLECT_BROKER_URL"])
        patch.setattr(queue, "celery_app", fresh := Celery("idiolect", set_as_current=False))
        fresh.add_defaults(queue._settings)
        place = Platform(Storage.open(config), environment, folder / "logs", sockets / "broker.sock", cache, mailbox)
        yield place
        place.close()
        fresh.close()


@pytest.fixture(scope="module")
def first(platform: Platform) -> Asked:
    """A run that was asked for while the broker was down, brought to its end by a worker that waited for the broker."""
    asked = platform.ask("sealing wax")
    with platform.storage.database.session() as session:
        notices.save(session, platform.storage.keys, asked.user.id, by_mail=True, webhook_url="")
    assert queue.enqueue_tuning(asked.run_id) is False
    platform.start_worker()
    time.sleep(1)
    assert asked.run().state == "queued"
    platform.start_broker()
    wait_until(asked.has_ended, "the first run's end")
    return asked


def test_a_run_asked_for_with_the_broker_down_is_kept_and_starts_when_it_is_back(first: Asked) -> None:
    run = first.run()
    assert (run.state, run.error_message, run.published, run.attempts) == ("succeeded", None, True, 1)
    assert len(first.versions()) == 1


def test_its_figures_fell_and_beat_the_base_model(first: Asked) -> None:
    metrics = first.metrics()
    assert 5 <= len(metrics) <= 100
    assert metrics[-1]["best_held_out_loss"] < metrics[0]["best_held_out_loss"]
    assert metrics[-1]["best_held_out_loss"] < metrics[-1]["base_held_out_loss"]
    figures = first.run().figures
    assert figures["voice_bits_per_char"] < figures["base_bits_per_char"]
    assert figures["reduction_pct"] > 0


def test_its_owner_gets_one_letter_that_says_so(platform: Platform, first: Asked) -> None:
    wait_until(lambda: bool(platform.mailbox.letters), "the letter")
    (letter,) = platform.mailbox.letters
    assert (letter["To"], letter["Subject"]) == (first.user.email, "Your voice is trained")
    assert f"/runs/{first.run_id}" in letter.get_content()


def test_the_worker_is_listed(platform: Platform, first: Asked) -> None:
    with platform.storage.database.reading() as session:
        listed = [found.name for found in workers.list_workers(session)]
    assert first.run().worker in listed
    assert len(listed) == 1


def test_maintenance_lets_a_worker_end_what_it_has_and_keeps_the_rest_for_afterwards(
    platform: Platform, first: Asked
) -> None:
    under_way, late = platform.ask("candle ends", MANY_LINES), platform.ask("copper wire")
    assert queue.enqueue_tuning(under_way.run_id)
    wait_until(under_way.has_checkpoint, "training")
    with platform.storage.database.session() as session:
        maintenance.begin(session, "A new disk", "user-chief")
    assert queue.enqueue_tuning(late.run_id)
    wait_until(under_way.has_ended, "the end of what was under way")
    assert under_way.run().published
    wait_until(lambda: f"run {late.run_id}: nothing to claim" in platform.log(0), "the message's end")
    assert (late.run().state, late.run().attempts) == ("queued", 0)
    with platform.storage.database.session() as session:
        assert maintenance.end(session, "user-chief") == 1
    wait_until(late.has_ended, "the end of what waited")
    assert (late.run().published, late.run().attempts) == (True, 1)


def test_a_cancel_in_mid_run_works_within_seconds(platform: Platform, first: Asked) -> None:
    asked = platform.ask("paper boats", MANY_LINES)
    assert queue.enqueue_tuning(asked.run_id)
    wait_until(lambda: asked.has_checkpoint(), "training")
    with platform.storage.database.session() as session:
        tuning_runs.cancel_run(session, user_id=asked.user.id, run_id=asked.run_id, actor_id=asked.user.id)
    wait_until(asked.has_ended, "the cancel", seconds=5)
    assert (asked.run().state, asked.checkpoint_step(), asked.versions()) == ("cancelled", None, [])


def test_two_people_trained_at_once_by_two_workers_leave_no_trace_in_each_others(
    platform: Platform, first: Asked
) -> None:
    platform.start_worker()
    wait_until(lambda: "ready to train" in platform.log(1), "the second worker's start")
    people = {canary: platform.ask(canary) for canary in ("quizzlewort", "brambleflux")}
    for asked in people.values():
        queue.enqueue_tuning(asked.run_id)
    wait_until(lambda: all(asked.has_ended() for asked in people.values()), "both runs' ends")
    one, other = people.values()
    assert (one.run().published, other.run().published) == (True, True)
    assert one.run().worker != other.run().worker, "one worker did both"
    for canary, asked in people.items():
        (foreign,) = set(people) - {canary}
        blocks = blocks_of(platform, asked)
        assert holds(blocks, canary)
        assert not holds(blocks, foreign)
        assert_cache_opens_for_its_owner_alone(platform, asked, stranger=people[foreign])
    together = generations(platform, list(people.values()))
    for canary, asked, text in zip(people, people.values(), together, strict=True):
        (foreign,) = set(people) - {canary}
        assert foreign not in text
        assert [text] == generations(platform, [asked]), "a neighbour in the batch changed the answer"
    assert together[0] != together[1], "both were answered in one voice"


def test_a_shared_list_would_be_noticed() -> None:
    writings = [WrittenText(text) for canary in ("quizzlewort", "brambleflux") for text in pieces(canary)]
    shared = build_split(make_tiny("llama"), writings, num_virtual_tokens=8)
    assert holds(all_blocks(shared), "quizzlewort")
    assert holds(all_blocks(shared), "brambleflux")


def test_a_run_of_a_worker_that_is_stopped_is_handed_over_at_once(platform: Platform, first: Asked) -> None:
    asked = platform.ask("tin kettles", MANY_LINES)
    assert queue.enqueue_tuning(asked.run_id)
    wait_until(lambda: asked.has_checkpoint(), "training")
    stopped = platform.worker_of(asked)
    stopped.terminate()
    assert stopped.wait(20) == 0
    with platform.storage.database.reading() as session:
        assert all(not found.name.endswith(f":{stopped.pid}") for found in workers.list_workers(session))
    wait_until(asked.has_ended, "the run's end")
    assert (asked.run().state, asked.run().attempts, len(asked.versions())) == ("succeeded", 1, 1)
    assert any(message.startswith("Went on from step") for message in asked.messages())


def test_a_killed_workers_run_goes_on_from_its_checkpoint_and_publishes_once(platform: Platform, first: Asked) -> None:
    asked = platform.ask("weather vanes", MANY_LINES)
    assert queue.enqueue_tuning(asked.run_id)
    wait_until(lambda: (asked.checkpoint_step() or 0) >= 10, "a checkpoint")
    victim = platform.worker_of(asked)
    children = children_of(victim.pid)
    victim.kill()
    victim.wait()
    kept = asked.checkpoint_step() or 0
    assert not asked.has_ended(), "it ended before the kill"
    wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "the orphans' end", seconds=10)
    platform.start_worker()
    wait_until(asked.has_ended, "the run's end")
    run = asked.run()
    assert (run.state, run.published, run.attempts) == ("succeeded", True, 2)
    assert len(asked.versions()) == 1
    (went_on,) = [message for message in asked.messages() if message.startswith("Went on from step")]
    assert int(went_on.split()[-1]) >= kept >= 10
    steps = [entry["step"] for entry in asked.metrics()]
    assert steps.count(0) == 1, "it began anew"


def test_no_log_holds_a_word_of_anybody(platform: Platform, first: Asked) -> None:
    logs = "".join(platform.log(number) for number in range(len(platform.workers))).lower()
    assert first.run_id in logs
    words = (
        "lighthouse",
        "blue ink",
        "sealing wax",
        "paper boats",
        "quizzlewort",
        "brambleflux",
        "weather vane",
        "tin kettle",
        "candle ends",
        "copper wire",
    )
    assert [word for word in words if word in logs] == []
    assert "@example.org" not in logs
    assert platform.environment["IDIOLECT_MASTER_KEY"] not in logs
    assert "traceback" not in logs


def blocks_of(platform: Platform, asked: Asked) -> tuple[Block, ...]:
    """The token blocks that a run is trained on and judged by, made by the job's own function."""
    config = TuningConfig.from_env(platform.environment)
    bench = Bench(platform.storage, config, TrainingSettings.from_config(config), worker="test")
    run = asked.run()
    held = Claim(run.id, run.user_id, run.voice_id, run.fence, tuple(run.sample_ids), run.seed, run.attempts)
    return all_blocks(begin(bench, held, resumed=False).split)


def all_blocks(split: Split) -> tuple[Block, ...]:
    return (*split.train, *split.stop, *split.test)


def holds(blocks: tuple[Block, ...], word: str) -> bool:
    tokenizer = make_tokenizer()
    return any(word in tokenizer.decode(block.token_ids) for block in blocks)


def assert_cache_opens_for_its_owner_alone(platform: Platform, asked: Asked, stranger: Asked) -> None:
    keys = platform.storage.keys
    with platform.cache.client() as client:
        (name,) = client.scan_iter(f"prefix:{asked.user.id}:*")
        sealed = client.get(name)
    parts = name.decode().split(":")
    Prefix.from_bytes(crypto.unseal(keys.data_key(asked.user.id), sealed, *parts), parts[-1])
    with pytest.raises(IntegrityError):
        crypto.unseal(keys.data_key(stranger.user.id), sealed, *parts)


def generations(platform: Platform, people: list[Asked]) -> list[str]:
    """What each person's published voice writes, greedily, all in one batch."""
    base = load_base_model(TuningConfig(platform.environment["IDIOLECT_BASE_MODEL"], device="cpu", num_threads=1))
    engine = Engine(base, max_num_seqs=len(people), max_waiting=0)
    engine.start()
    try:
        streams = [
            engine.submit(
                base.encode("Piece 7 of "), SamplingParams(temperature=0, max_tokens=60), prefix_of(base, asked)
            )
            for asked in people
        ]
        return [base.decode([token.id for token in stream]) for stream in streams]
    finally:
        engine.close()


def prefix_of(base: BaseModel, asked: Asked) -> Prefix:
    loaded = prefixes.load_prefix(asked.storage, asked.user.id, asked.voice_id)
    return Prefix.from_bytes(loaded.data, base.fingerprint, dtype=base.dtype)


def children_of(process: int) -> list[str]:
    return [
        child for task in Path(f"/proc/{process}/task").iterdir() for child in (task / "children").read_text().split()
    ]
