"""Reports of published versions, kept in a real database; whatever becomes of them, the version stays."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from storage import prefixes, reports, samples, users, voices
from storage.models import User, Voice
from tests import factories
from tests.tiny_model import make_prefix
from tuning import report_keeping
from tuning.base_model import BaseModel
from tuning.dataset import Split, build_split
from tuning.evaluation import bits_per_char
from tuning.going_on import begin
from tuning.prefix import Prefix
from tuning.report_keeping import keep_report
from tuning.voice_report import report
from tuning.workbench import Bench


@dataclass(frozen=True)
class Published:
    """A version that has just been published."""

    bench: Bench
    user: User
    voice: Voice
    run_id: str

    @classmethod
    def of(cls, bench: Bench) -> "Published":
        storage, base = bench.storage, bench.base
        user = factories.make_user(storage)
        voice = factories.first_voice(storage, user)
        claim = factories.start_run(storage, factories.make_run(storage, user, voice))
        split = begin(bench, claim, resumed=False).split
        prefixes.publish_prefix(
            storage,
            claim,
            data=make_prefix(base).to_bytes(),
            base_fingerprint=base.fingerprint,
            num_virtual_tokens=4,
            figures={"base_bits_per_char": bits_per_char(base, None, split.test)},
            trained_sample_ids=split.trained_ids,
        )
        return cls(bench, user, voice, claim.run_id)

    def keep(self, is_stopping: Callable[[], bool] = lambda: False) -> None:
        keep_report(replace(self.bench, is_stopping=is_stopping), self.run_id)

    def report(self) -> dict[str, Any] | None:
        with self.bench.storage.database.reading() as session:
            return reports.read_report(session, self.bench.storage.keys, self.user.id, self.voice.id, 1)


@pytest.fixture
def published(bench: Bench) -> Published:
    return Published.of(bench)


def test_it_is_measured_over_the_owners_own_samples_and_kept_with_the_version(published: Published) -> None:
    other = Published.of(published.bench)
    assert published.report() is None
    published.keep()
    kept = published.report()
    assert kept is not None
    assert kept.keys() == {"in_context_bits_per_char", "neutral_rise_pct", "style", "style_distance", "longest_overlap"}
    assert kept["style"]["samples"]["num_words"] == pytest.approx(
        sum(len(t.split()) for t in factories.SAMPLE_TEXTS), 5
    )
    assert other.report() is None


def test_a_report_that_fails_is_named_by_its_kind_and_harms_nothing(
    published: Published, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(factories.SAMPLE_TEXTS[0])

    monkeypatch.setattr(report_keeping, "report", fail)
    with caplog.at_level(logging.INFO):
        published.keep()
    assert f"run {published.run_id}: no report: RuntimeError at" in caplog.text
    assert "ferry" not in caplog.text
    assert published.report() is None


def test_a_worker_that_is_stopping_leaves_it_out(published: Published) -> None:
    looks: list[bool] = []

    def is_stopping() -> bool:
        looks.append(len(looks) >= 2)
        return looks[-1]

    published.keep(lambda: True)
    published.keep(is_stopping)
    assert looks == [False, False, True]
    assert published.report() is None


@pytest.mark.parametrize("leave", ["voice", "account"])
def test_nothing_is_written_for_who_is_gone(published: Published, leave: str, caplog: pytest.LogCaptureFixture) -> None:
    if leave == "voice":
        voices.delete_voice(published.bench.storage, published.user.id, published.voice.id)
    else:
        users.erase_user(published.bench.storage, published.user.id, actor_id=published.user.id)
    with caplog.at_level(logging.INFO):
        published.keep()
    assert "no report (" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_it_is_left_out_when_samples_are_gone_and_what_is_left_would_be_split_otherwise(published: Published) -> None:
    storage = published.bench.storage
    with storage.database.session() as session:
        first = samples.included_ids(session, published.user.id, published.voice.id)[0]
        samples.delete_sample(session, published.user.id, published.voice.id, first)
    published.keep()
    assert published.report() is None


def test_it_is_judged_on_the_very_text_that_the_run_was_judged_on(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Split] = []

    def watch(base: BaseModel, prefix: Prefix, split: Split, *given: Any, **options: Any) -> dict[str, Any]:
        measured.append(split)
        return report(base, prefix, split, *given, **options)

    monkeypatch.setattr(report_keeping, "report", watch)
    published.keep()
    with published.bench.storage.database.reading() as session:
        texts = samples.list_samples(session, published.bench.storage.keys, published.user.id, published.voice.id)
    assert [split.digest for split in measured] == [
        build_split(published.bench.base, texts, num_virtual_tokens=4).digest
    ]
