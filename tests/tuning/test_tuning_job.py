"""One run from claim to end, in this process: a real database, cache and tiny model; every ending there is."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from storage import base_models, checkpoints, prefixes, reports, run_claims, tuning_runs, voices
from storage.errors import NoPublishedVersion
from storage.models import TuningCheckpoint
from tests.tiny_model import make_prefix
from tests.tuning.runs import (
    LINE,
    LONG,
    PIECES,
    QUICK,
    Asked,
    ask,
    claim_elsewhere,
    delete_first_sample,
    interrupted,
    let_lease_expire,
    published,
    tune_beside,
    wait_until,
)
from tuning import report_keeping, run_diary, run_in_hand
from tuning.config import TuningConfig
from tuning.evaluation import Verdict, judge
from tuning.heartbeat import CANCEL_WITHIN_S
from tuning.run_diary import RunDiary
from tuning.training import Progress
from tuning.tuning_job import tune
from tuning.voice_report import report
from tuning.workbench import Bench


def test_a_run_trains_publishes_and_tells_its_course(bench: Bench) -> None:
    asked = ask(bench.storage)
    tune(bench, asked.run_id)
    run = asked.run()
    assert (run.state, run.published, run.worker, run.attempts) == ("succeeded", True, "here:1", 1)
    assert (run.step, run.max_steps) == (20, 20)
    assert run.figures["voice_bits_per_char"] < run.figures["base_bits_per_char"]
    assert run.figures["samples"] == 6
    assert run.base_fingerprint == bench.base.fingerprint
    metrics = asked.metrics()
    assert metrics[0]["best_held_out_loss"] > metrics[-1]["best_held_out_loss"]
    assert metrics[0]["eta_seconds"] is None
    assert metrics[-1]["eta_seconds"] == 0.0
    assert metrics[-1]["step"] == 20
    assert not asked.has_checkpoint()
    assert published(bench, asked).num_virtual_tokens == 4
    assert asked.messages()[-1] == "Published."
    with bench.storage.database.session() as session:
        current = base_models.current(session)
    assert current is not None
    assert (current.name, current.fingerprint) == ("tiny", bench.base.fingerprint)
    assert current.probe["num_virtual_tokens"] == TuningConfig().num_virtual_tokens


def reports_of(asked: Asked) -> list[dict[str, Any] | None]:
    with asked.storage.database.reading() as session:
        return [
            reports.read_report(session, asked.storage.keys, asked.user.id, asked.voice_id, version.version)
            for version in voices.list_versions(session, asked.user.id, asked.voice_id)
        ]


def test_a_published_version_gets_its_report_once_the_run_has_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(bench.storage)
    states = []

    def look(*given: Any, **options: Any) -> dict[str, Any]:
        states.append(asked.run().state)
        return report(*given, **options)

    monkeypatch.setattr(report_keeping, "report", look)
    tune(bench, asked.run_id)
    assert states == ["succeeded"]
    (kept,) = reports_of(asked)
    assert kept is not None
    assert kept["in_context_bits_per_char"] > 0
    assert kept["style"]["samples"]["num_words"] == sum(len(piece.split()) for piece in PIECES) - len(PIECES), (
        "no digits"
    )


def test_a_report_that_fails_leaves_the_run_succeeded_and_the_voice_in_use(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> dict[str, Any]:
        raise RuntimeError(LINE)

    monkeypatch.setattr(report_keeping, "report", fail)
    asked = ask(bench.storage)
    tune(bench, asked.run_id)
    assert (asked.run().state, asked.run().published, asked.run().error_code) == ("succeeded", True, None)
    assert asked.messages()[-1] == "Published."
    assert published(bench, asked).num_virtual_tokens == 4
    assert reports_of(asked) == [None]


def test_a_long_run_leaves_about_a_hundred_metrics_with_a_time_left_at_its_own_pace(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: SimpleNamespace = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)

    class HalfASecondAStep(RunDiary):
        def progress(self, progress: Progress) -> None:
            clock.now = 1000.0 + progress.step / 2
            super().progress(progress)

    monkeypatch.setattr(run_diary, "time", clock)
    monkeypatch.setattr(run_in_hand, "RunDiary", HalfASecondAStep)
    asked = ask(bench.storage)
    tune(
        replace(bench, settings=replace(QUICK, max_steps=120, epochs=1000, evaluate_every=10, patience=1000)),
        asked.run_id,
    )
    metrics = asked.metrics()
    assert 40 <= len(metrics) <= 110
    steps, left = [entry["step"] for entry in metrics], [entry["eta_seconds"] for entry in metrics]
    assert (steps[0], steps[-1]) == (0, 120)
    told = [entry["steps_left"] for entry in metrics]
    paced = [
        pytest.approx(most_likely / 2, abs=0.06) if step > 5 else None
        for step, most_likely in zip(steps, told, strict=True)
    ]
    assert left == [*paced[:-1], 0]
    judging = told[0] - 120
    assert judging > 0
    assert told == [*(pytest.approx(120 - step + judging) for step in steps[:-1]), 0]


def test_what_does_not_beat_the_base_model_is_not_published_and_says_why(bench: Bench) -> None:
    asked = ask(bench.storage, seed=1)
    hardly_trained = replace(QUICK, initialisation="random", learning_rate=1e-9, max_steps=1)
    tune(replace(bench, settings=hardly_trained), asked.run_id)
    run = asked.run()
    assert (run.state, run.published) == ("succeeded", False)
    assert "more pieces help most" in run.figures["reason"]
    with pytest.raises(NoPublishedVersion):
        published(bench, asked)


def test_samples_deleted_since_the_request_are_left_out(bench: Bench) -> None:
    asked = ask(bench.storage)
    delete_first_sample(asked)
    tune(bench, asked.run_id)
    assert (asked.run().state, asked.run().figures["samples"]) == ("succeeded", 5)


def test_too_little_text_fails_with_what_is_missing(bench: Bench) -> None:
    asked = ask(bench.storage)
    for _ in PIECES:
        delete_first_sample(asked)
    tune(bench, asked.run_id)
    run = asked.run()
    assert (run.state, run.error_code) == ("failed", "too_little_text")
    assert "100 are needed" in str(run.error_message)


def test_a_base_model_that_cannot_be_loaded_fails_the_run_without_blaming_its_owner(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    asked = ask(bench.storage)
    tune(replace(bench, config=replace(bench.config, base_model="/no/such/model")), asked.run_id)
    assert asked.run().error_code == "base_model_unavailable"
    assert "/no/such/model" not in str(asked.run().error_message)
    assert "/no/such/model" in caplog.text


def test_an_unexpected_error_fails_the_run_and_logs_no_words_of_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    asked = ask(bench.storage)
    with caplog.at_level(logging.INFO):
        tune(replace(bench, settings=replace(QUICK, hidden=-1, parametrisation="mlp")), asked.run_id)
    run = asked.run()
    assert (run.state, run.error_code) == ("failed", "internal")
    assert "on our side" in str(run.error_message)
    assert f"run {asked.run_id}: RuntimeError at" in caplog.text
    assert "lighthouse" not in caplog.text
    assert "negative dimension" not in caplog.text


def test_a_cancelled_run_ends_within_seconds_whatever_its_lease_and_drops_its_checkpoint(bench: Bench) -> None:
    asked = ask(bench.storage)
    endless = replace(bench, settings=replace(LONG, patience=LONG.max_steps))
    interrupted(endless, asked)
    # By its lease alone this worker would give its next sign of life, and hear of it, in ten minutes.
    thread = tune_beside(replace(endless, config=replace(bench.config, lease_s=3600.0)), asked)
    wait_until(lambda: asked.run().state == "running")
    with bench.storage.database.session() as session:
        tuning_runs.cancel_run(session, user_id=asked.user.id, run_id=asked.run_id, actor_id=asked.user.id)
    thread.join()
    assert CANCEL_WITHIN_S <= 2
    assert asked.run().step < LONG.max_steps
    assert (asked.run().state, asked.has_checkpoint()) == ("cancelled", False)


def test_a_second_delivery_of_the_message_does_nothing(bench: Bench) -> None:
    asked = ask(bench.storage)
    held = claim_elsewhere(asked)
    assert held is not None
    tune(bench, asked.run_id)
    assert (asked.run().state, asked.run().fence) == ("leased", held.fence)
    tune(bench, "run-that-never-was")


def test_a_run_that_was_taken_over_writes_nothing_more(bench: Bench) -> None:
    asked = ask(bench.storage)
    thread = tune_beside(replace(bench, settings=LONG), asked)
    let_lease_expire(asked)
    held = claim_elsewhere(asked)
    while held is None:  # the heartbeat was quicker
        let_lease_expire(asked)
        held = claim_elsewhere(asked)
    taken_over_at = asked.run().step
    thread.join()
    run = asked.run()
    assert (run.state, run.worker, run.fence, run.step) == ("leased", "elsewhere:2", held.fence, taken_over_at)


def test_a_run_is_given_up_after_its_last_attempt(bench: Bench) -> None:
    asked = ask(bench.storage)
    for _ in range(bench.config.max_attempts):
        assert claim_elsewhere(asked) is not None
        let_lease_expire(asked)
    tune(bench, asked.run_id)
    assert (asked.run().state, asked.run().error_code) == ("failed", "gave_up")


def test_an_interrupted_run_goes_on_from_its_checkpoint_to_the_very_same_prefix(bench: Bench) -> None:
    long_enough = replace(bench, settings=replace(QUICK, max_steps=60, epochs=1000))
    asked, undisturbed = ask(bench.storage), ask(bench.storage)
    interrupted(long_enough, asked)
    reached = asked.run()
    assert (reached.state, asked.has_checkpoint()) == ("queued", True)
    assert 0 < reached.step < 60
    tune(long_enough, asked.run_id)
    tune(long_enough, undisturbed.run_id)
    (went_on,) = [message for message in asked.messages() if message.startswith("Went on from step")]
    assert int(went_on.split()[-1]) > 0
    assert (asked.run().state, asked.run().attempts) == ("succeeded", 1), "a clean stop is no attempt"
    one, other = published(long_enough, asked), published(long_enough, undisturbed)
    for tensor, twin in zip((*one.keys, *one.values), (*other.keys, *other.values), strict=True):
        torch.testing.assert_close(tensor, twin, rtol=0, atol=0)


def test_a_paused_run_keeps_its_checkpoint_and_goes_on_to_the_very_same_prefix(bench: Bench) -> None:
    slowly = replace(bench, settings=replace(QUICK, max_steps=200, epochs=10_000, patience=200))
    asked, undisturbed = ask(bench.storage), ask(bench.storage)
    thread = tune_beside(slowly, asked)
    act_on(asked, tuning_runs.pause_run)
    thread.join()
    paused = asked.run()
    assert (paused.state, paused.attempts, paused.lease_until) == ("paused", 0, None)
    assert 0 < paused.step < 200
    assert asked.has_checkpoint()
    assert asked.messages()[-1] == run_claims.PAUSED
    tune(slowly, asked.run_id)
    assert asked.run().state == "paused", "nobody claims it"
    act_on(asked, tuning_runs.resume_run)
    tune(slowly, asked.run_id)
    tune(slowly, undisturbed.run_id)
    (went_on,) = [message for message in asked.messages() if message.startswith("Went on from step")]
    assert int(went_on.split()[-1]) >= paused.step, "nothing that was trained is trained again"
    assert (asked.run().state, asked.run().attempts) == ("succeeded", 1)
    one, other = published(slowly, asked), published(slowly, undisturbed)
    for tensor, twin in zip((*one.keys, *one.values), (*other.keys, *other.values), strict=True):
        torch.testing.assert_close(tensor, twin, rtol=0, atol=0)


def test_a_run_that_is_paused_while_it_is_judged_publishes_when_it_is_resumed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(bench.storage)
    publish_prefix = prefixes.publish_prefix

    def pause_first(*given: Any, **options: Any) -> Any:
        act_on(asked, tuning_runs.pause_run)
        return publish_prefix(*given, **options)

    with monkeypatch.context() as patched:
        patched.setattr(prefixes, "publish_prefix", pause_first)
        tune(bench, asked.run_id)
    assert (asked.run().state, asked.run().published) == ("paused", None)
    act_on(asked, tuning_runs.resume_run)
    tune(bench, asked.run_id)
    assert (asked.run().state, asked.run().published) == ("succeeded", True)


def test_what_was_trained_before_a_pause_in_the_judging_is_not_trained_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(bench.storage)

    def judge_slowly(*given: Any) -> Verdict:
        act_on(asked, tuning_runs.pause_run)
        time.sleep(3 * bench.config.heartbeat_s)  # by then its next sign of life was answered
        return judge(*given)

    with monkeypatch.context() as patched:
        patched.setattr(run_in_hand, "judge", judge_slowly)
        tune(bench, asked.run_id)
    assert (asked.run().state, asked.checkpoint_step()) == ("paused", 20)
    trained = [metric["step"] for metric in asked.metrics()]
    act_on(asked, tuning_runs.resume_run)
    tune(bench, asked.run_id)
    assert (asked.run().state, asked.run().published) == ("succeeded", True)
    assert [metric["step"] for metric in asked.metrics()] == trained


def act_on(asked: Asked, act: Callable[..., Any]) -> None:
    with asked.storage.database.session() as session:
        act(session, user_id=asked.user.id, run_id=asked.run_id, actor_id=asked.user.id)


def test_a_checkpoint_of_other_samples_is_not_used(bench: Bench) -> None:
    asked = ask(bench.storage)
    interrupted(replace(bench, settings=LONG), asked)
    delete_first_sample(asked)
    time.sleep(0.01)
    tune(bench, asked.run_id)
    assert any("began anew" in message for message in asked.messages())
    assert (asked.run().state, asked.run().published) == ("succeeded", True)


def test_a_checkpoint_lies_sealed_in_the_database(bench: Bench) -> None:
    asked = ask(bench.storage)
    interrupted(replace(bench, settings=LONG), asked)
    with bench.storage.database.session() as session:
        kept = session.get_one(TuningCheckpoint, asked.run_id)
        assert b"belongs_to" not in kept.sealed
    time.sleep(0.01)
    held = claim_elsewhere(asked)
    assert held is not None
    with bench.storage.database.session() as session:
        assert b"belongs_to" in (checkpoints.load_checkpoint(session, bench.storage.keys, held) or b"")


def with_population(bench: Bench, path: Path) -> Bench:
    return replace(bench, config=replace(bench.config, population_prefix=str(path), num_virtual_tokens=4))


def test_a_run_starts_from_the_population_prefix_and_is_judged_against_it(bench: Bench, tmp_path: Path) -> None:
    start = make_prefix(bench.base)
    (tmp_path / "start.safetensors").write_bytes(start.to_bytes())
    asked = ask(bench.storage)
    still = replace(QUICK, learning_rate=0.0, max_steps=1)
    tune(replace(with_population(bench, tmp_path / "start.safetensors"), settings=still), asked.run_id)
    run = asked.run()
    assert (run.state, run.published) == ("succeeded", False)
    assert run.figures["voice_bits_per_char"] == run.figures["population_bits_per_char"]


def test_a_population_prefix_that_cannot_be_used_ends_the_run_in_plain_words_and_names_the_file_in_the_log(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "start.safetensors").write_bytes(b"nonsense")
    asked = ask(bench.storage)
    tune(with_population(bench, tmp_path / "start.safetensors"), asked.run_id)
    run = asked.run()
    assert (run.state, run.error_code) == ("failed", "misconfigured")
    assert "not your doing" in str(run.error_message)
    assert "start.safetensors" not in str(run.error_message)
    assert "start.safetensors" in caplog.text
