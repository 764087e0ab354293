"""A database that fails now and then, under a run that is sound: it costs no attempt, and no training."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from storage import prefixes, run_claims, tuning_runs
from storage.config import StorageConfig
from storage.database import Database
from tests.tuning.runs import LINE, LONG, QUICK, Asked, ask, claim_elsewhere, let_lease_expire
from tuning import outages, run_diary
from tuning.run_diary import RunDiary
from tuning.tuning_job import tune
from tuning.workbench import Bench


class Unsteady(Database):
    """away: so many of the next transactions fail at their beginning. unanswered: so many of the next are committed
    and fail nevertheless. Only of the thread that made it, unless for_all: the heartbeat has another."""

    def __init__(self, config: StorageConfig) -> None:
        super().__init__(config.database_url)
        self.away = self.unanswered = self.failed = 0
        self.for_all = False
        self._thread = threading.get_ident()

    @contextmanager
    def session(self) -> Iterator[Session]:
        concerned = self.for_all or threading.get_ident() == self._thread
        if concerned and self.away:
            self.away -= 1
            raise self._lost()
        with super().session() as session:
            yield session
        if concerned and self.unanswered:
            self.unanswered -= 1
            raise self._lost()

    def _lost(self) -> OperationalError:
        self.failed += 1
        return OperationalError(LINE, {}, Exception(LINE))


@pytest.fixture
def database(bench: Bench) -> Iterator[Unsteady]:
    unsteady = Unsteady(bench.storage.config)
    yield unsteady
    unsteady.dispose()


@pytest.fixture
def shaky(bench: Bench, database: Unsteady, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench on that database, which waits for nothing between two tries."""
    monkeypatch.setattr(outages, "WAITS_S", (0.0,) * 4)
    config = replace(bench.config, lease_s=60.0)
    return replace(bench, config=config, storage=replace(bench.storage, database=database))


def first(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, do: Callable[[], Any], call: int = 1) -> None:
    """Before the so manieth call of owner.name, do this."""
    original, calls = getattr(owner, name), []

    def wrapped(*given: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == call:
            do()
        return original(*given, **options)

    monkeypatch.setattr(owner, name, wrapped)


def fails(database: Unsteady, **how: Any) -> Callable[[], None]:
    def begin() -> None:
        for name, value in how.items():
            setattr(database, name, value)

    return begin


def assert_published_once(asked: Asked) -> None:
    run = asked.run()
    assert (run.state, run.published, run.attempts) == ("succeeded", True, 1)
    assert [version.version for version in asked.versions()] == [1]
    assert asked.messages().count("Published.") == 1


def test_metrics_that_could_not_be_written_are_left_out_and_the_training_goes_on(
    bench: Bench, shaky: Bench, database: Unsteady, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = ask(bench.storage)
    first(monkeypatch, RunDiary, "progress", fails(database, away=5), call=4)
    tune(shaky, asked.run_id)
    assert database.failed == 5
    assert_published_once(asked)
    written = [entry["step"] for entry in asked.metrics()]
    assert set(range(21)) - set(written) == set(range(3, 8))
    assert caplog.text.count("where it stands was not written (OperationalError)") == 5
    assert "lighthouse" not in caplog.text


def test_a_checkpoint_that_could_not_be_kept_is_kept_at_the_next_look(
    bench: Bench, shaky: Bench, database: Unsteady, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(bench.storage)
    kept: list[int | None] = []
    monkeypatch.setattr(RunDiary, "checkpoint", RunDiary.keep)  # at every look
    first(monkeypatch, RunDiary, "checkpoint", fails(database, away=1), call=2)
    first(monkeypatch, RunDiary, "checkpoint", lambda: kept.append(asked.checkpoint_step()), call=3)
    first(monkeypatch, prefixes, "publish_prefix", lambda: kept.append(asked.checkpoint_step()))
    tune(shaky, asked.run_id)
    assert database.failed == 1
    assert kept == [5, 15], "the second look's was lost, the third's was not"
    assert_published_once(asked)


def test_a_publication_is_tried_again_until_the_database_is_back(
    bench: Bench, shaky: Bench, database: Unsteady, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(bench.storage)
    first(monkeypatch, prefixes, "publish_prefix", fails(database, away=4))
    tune(shaky, asked.run_id)
    assert database.failed == 4
    assert_published_once(asked)


def test_a_publication_whose_commit_was_never_answered_is_not_done_twice_and_has_its_report(
    bench: Bench, shaky: Bench, database: Unsteady, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = ask(bench.storage)
    first(monkeypatch, prefixes, "publish_prefix", fails(database, unanswered=1))
    reports = []
    monkeypatch.setattr("tuning.run_in_hand.report_later", lambda _, run_id: reports.append(run_id))
    with caplog.at_level(logging.INFO):
        tune(shaky, asked.run_id)
    assert database.failed == 1
    assert_published_once(asked)
    assert reports == [asked.run_id]
    assert f"run {asked.run_id}: published" in caplog.text
    assert "left alone" not in caplog.text


def test_the_end_of_a_run_that_publishes_nothing_is_tried_again_too(
    bench: Bench, shaky: Bench, database: Unsteady, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hardly_trained = replace(QUICK, initialisation="random", learning_rate=1e-9, max_steps=1)
    asked = ask(bench.storage, seed=1)
    first(monkeypatch, run_claims, "finish", fails(database, unanswered=1))
    with caplog.at_level(logging.INFO):
        tune(replace(shaky, settings=hardly_trained), asked.run_id)
    assert database.failed == 1
    assert (asked.run().state, asked.run().published, asked.run().attempts) == ("succeeded", False, 1)
    assert f"run {asked.run_id}: not published" in caplog.text


def test_a_database_that_stays_away_leaves_the_run_to_its_leases_end(
    bench: Bench, shaky: Bench, database: Unsteady, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = ask(bench.storage)
    first(monkeypatch, prefixes, "publish_prefix", fails(database, away=1000))
    tune(shaky, asked.run_id)
    assert database.failed == 1 + len(outages.WAITS_S)
    assert (asked.run().state, asked.versions()) == ("running", [])
    assert "left to its lease's end (OperationalError)" in caplog.text


def test_a_publication_is_not_tried_again_once_another_worker_has_the_run(
    bench: Bench, shaky: Bench, database: Unsteady, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = ask(bench.storage)

    def taken_over() -> None:
        let_lease_expire(asked)
        assert claim_elsewhere(asked) is not None
        database.away = 1

    first(monkeypatch, prefixes, "publish_prefix", taken_over)
    tune(shaky, asked.run_id)
    run = asked.run()
    assert (run.state, run.worker, asked.versions()) == ("leased", "elsewhere:2", [])
    assert "left alone (LostLease)" in caplog.text


def test_a_training_ends_once_nothing_was_heard_of_the_database_for_a_whole_lease(
    bench: Bench, shaky: Bench, database: Unsteady, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = ask(bench.storage)
    first(monkeypatch, RunDiary, "progress", fails(database, away=10**9, for_all=True), call=3)
    short = replace(shaky, config=replace(shaky.config, lease_s=1.0))
    with caplog.at_level(logging.INFO):
        tune(replace(short, settings=replace(LONG, patience=LONG.max_steps)), asked.run_id)
    assert asked.run().state == "running"
    assert "stopped (lease lost)" in caplog.text


def test_a_cancellation_is_heeded_while_no_metrics_can_be_written(
    bench: Bench, shaky: Bench, database: Unsteady, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(bench.storage)

    def cancel_and_fail() -> None:
        with asked.storage.database.session() as session:
            tuning_runs.cancel_run(session, user_id=asked.user.id, run_id=asked.run_id, actor_id=asked.user.id)
        monkeypatch.setattr(run_claims, "record_progress", unwritable)

    def unwritable(*_: Any, **__: Any) -> None:
        raise database._lost()

    monkeypatch.setattr(run_diary, "MOST_METRICS", 2 * LONG.max_steps)  # one at every step
    first(monkeypatch, RunDiary, "progress", cancel_and_fail, call=3)
    tune(replace(shaky, settings=replace(LONG, patience=LONG.max_steps)), asked.run_id)
    assert database.failed > 0
    assert asked.run().state == "cancelled"
