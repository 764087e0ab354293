"""Reports of published versions, kept in a real database; whatever becomes of them, the version stays."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from storage import prefixes, users, voices
from storage.models import User, Voice
from storage.run_claims import Claim
from storage.store import Storage
from tests import factories
from tests.tiny_model import make_prefix, make_tiny
from tuning import report_keeping
from tuning.base_model import BaseModel
from tuning.dataset import Split, WrittenText, build_split
from tuning.report_keeping import keep_report


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama")


@dataclass(frozen=True)
class Published:
    """A version that has just been published, and what its worker still holds."""

    storage: Storage
    base: BaseModel
    user: User
    voice: Voice
    claim: Claim
    split: Split
    data: bytes

    @classmethod
    def of(cls, storage: Storage, base: BaseModel) -> "Published":
        user = factories.make_user(storage)
        voice = factories.first_voice(storage, user)
        claim = factories.start_run(storage, factories.make_run(storage, user, voice))
        data = make_prefix(base).to_bytes()
        prefixes.publish_prefix(
            storage, claim, data=data, base_fingerprint=base.fingerprint, num_virtual_tokens=4, figures={}
        )
        writings = [WrittenText(text) for text in factories.SAMPLE_TEXTS]
        return cls(storage, base, user, voice, claim, build_split(base, writings, num_virtual_tokens=4), data)

    def keep(self, is_stopping: Callable[[], bool] = lambda: False) -> None:
        keep_report(self.storage, self.base, self.claim, self.split, self.data, is_stopping=is_stopping)

    def report(self) -> dict[str, Any] | None:
        with self.storage.database.reading() as session:
            return prefixes.read_report(session, self.storage.keys, self.user.id, self.voice.id, 1)


@pytest.fixture
def published(storage: Storage, base: BaseModel) -> Published:
    return Published.of(storage, base)


def test_it_is_measured_over_the_owners_own_samples_and_kept_with_the_version(published: Published) -> None:
    other = Published.of(published.storage, published.base)
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
        raise RuntimeError("the ferry was late again")

    monkeypatch.setattr(report_keeping, "report", fail)
    with caplog.at_level(logging.INFO):
        published.keep()
    assert f"run {published.claim.run_id}: no report (RuntimeError)" in caplog.text
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
        voices.delete_voice(published.storage, published.user.id, published.voice.id)
    else:
        users.erase_user(published.storage, published.user.id, actor_id=published.user.id)
    with caplog.at_level(logging.INFO):
        published.keep()
    assert "no report (" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
