"""Runs that go on from a version: a real database and tiny model, through the worker's own way."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage import prefixes, samples, voices
from tests.factories import add_samples, claim_run, first_voice, make_run
from tests.tiny_model import save_tiny
from tests.tuning.runs import LINE, PIECES, QUICK, Asked, ask, delete_first_sample, interrupted, published
from tuning import going_on, report_keeping, run_in_hand
from tuning.base_model import BaseModel
from tuning.dataset import Split
from tuning.evaluation import Verdict, bits_per_char, judge
from tuning.prefix import Prefix
from tuning.tuning_job import tune
from tuning.workbench import Bench

SETTINGS = replace(QUICK, min_steps=36, max_steps=36, patience=36)  # enough for going on to take fewer
MORE = tuple(f"Piece {number}. {LINE * 2}" for number in range(6, 12))


@pytest.fixture
def bench(bench: Bench) -> Bench:
    """With trainings that are long enough to go on."""
    return replace(bench, settings=SETTINGS)


def ask_again(asked: Asked, pieces: tuple[str, ...] = ()) -> Asked:
    """Give more writing and ask for another training."""
    storage = asked.storage
    voice = first_voice(storage, asked.user)
    add_samples(storage, asked.user, voice, pieces)
    return replace(asked, run_id=make_run(storage, asked.user, voice).id)


def test_new_samples_go_on_from_the_version_in_use_and_nothing_it_knew_judges(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[set[str]] = []

    def watch(base: BaseModel, split: Split, *given: Any) -> Verdict:
        judged.append({piece for piece in (*PIECES, *MORE) if piece.strip() in held_out_text(base, split)})
        return judge(base, split, *given)

    monkeypatch.setattr(run_in_hand, "judge", watch)
    first = ask(bench.storage)
    tune(bench, first.run_id)
    known = set(first.versions()[0].trained_sample_ids or ())
    assert len(known) == 4
    again = ask_again(first, MORE)
    tune(bench, again.run_id)
    assert (again.run().state, again.run().continues_version) == ("succeeded", 1)
    assert "Goes on from version 1" in again.messages()
    assert again.run().figures["current_bits_per_char"] > 0
    trained = {PIECES[n] for n in range(6) if PIECES[n] not in judged[0]}
    assert len(trained) == len(known)
    assert judged[1].isdisjoint(trained)
    assert judged[1] & set(MORE)


def test_a_training_that_goes_on_says_and_takes_a_third_of_the_steps(bench: Bench) -> None:
    first = ask(bench.storage)
    tune(bench, first.run_id)
    again = ask_again(first, MORE)
    tune(bench, again.run_id)
    assert again.run().continues_version == 1
    assert [asked.run().max_steps for asked in (first, again)] == [36, 12]
    assert [asked.metrics()[-1]["step"] for asked in (first, again)] == [36, 12]


def test_where_steps_are_few_a_training_begins_anew_and_has_to_be_closer_than_the_version(bench: Bench) -> None:
    few = replace(bench, settings=replace(bench.settings, min_steps=33, max_steps=33))
    first = ask(bench.storage)
    tune(few, first.run_id)
    again = ask_again(first, MORE)
    tune(few, again.run_id)
    assert "Begins anew: too little text to gain by going on from version 1, which it has to beat" in again.messages()
    assert (again.run().state, again.run().continues_version, again.run().max_steps) == ("succeeded", 1, 33)
    assert again.run().figures["current_bits_per_char"] > 0
    assert again.metrics()[0]["held_out_loss"] == pytest.approx(again.metrics()[0]["base_held_out_loss"], rel=0.05)


def held_out_text(base: BaseModel, split: Split) -> str:
    blocks = (*split.stop, *split.test)
    return "".join(base.decode(block.token_ids[block.num_context :]) for block in blocks)


def test_the_first_look_of_a_training_that_goes_on_is_where_the_version_left_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits: list[Split] = []

    def watch(base: BaseModel, split: Split, *given: Any) -> Verdict:
        splits.append(split)
        return judge(base, split, *given)

    monkeypatch.setattr(run_in_hand, "judge", watch)
    first = ask(bench.storage)
    tune(bench, first.run_id)
    version = published(bench, first)
    again = ask_again(first, MORE)
    tune(bench, again.run_id)
    left_off = bits_per_char(bench.base, version.to(dtype=bench.base.dtype), splits[1].stop)
    assert again.metrics()[0]["held_out_loss"] == pytest.approx(left_off, rel=1e-4)
    assert left_off < again.metrics()[0]["base_held_out_loss"]


def test_without_anything_new_training_starts_anew_and_is_not_judged_twice_by_the_same_text(bench: Bench) -> None:
    first = ask(bench.storage)
    tune(bench, first.run_id)
    again = ask_again(first)
    tune(bench, again.run_id)
    assert (again.run().state, again.run().continues_version) == ("succeeded", None)
    assert "Begins anew: too little is new since version 1" in again.messages()
    assert again.run().figures["voice_bits_per_char"] == pytest.approx(first.run().figures["voice_bits_per_char"])


def test_a_report_of_a_version_that_went_on_is_of_the_text_that_judged_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    measured: list[str] = []

    def watch(base: BaseModel, split: Split, *given: Any) -> Verdict:
        judged.append(split.digest)
        return judge(base, split, *given)

    def look(base: BaseModel, prefix: Prefix, split: Split, *given: Any, **options: Any) -> dict[str, Any]:
        measured.append(split.digest)
        return {}

    monkeypatch.setattr(run_in_hand, "judge", watch)
    monkeypatch.setattr(report_keeping, "report", look)
    first = ask(bench.storage)
    tune(bench, first.run_id)
    again = ask_again(first, MORE)
    tune(bench, again.run_id)
    assert again.run().continues_version == 1
    assert len(judged) == 2
    assert measured == judged[: len(measured)]
    assert measured[0] == judged[0]
    if again.run().published:
        assert measured == judged


def test_a_sample_that_was_left_out_in_between_still_judges_nothing(bench: Bench) -> None:
    """It judged the first version, was left out for the second, and is there again for the third."""
    first = ask(bench.storage)
    tune(bench, first.run_id)
    with bench.storage.database.reading() as session:
        ids = samples.included_ids(session, first.user.id, first.voice_id)
    (judge_of_first,) = set(ids[-1:]) - set(first.versions()[0].trained_sample_ids or ())
    include(first, judge_of_first, included=False)
    second = ask_again(first, MORE)
    tune(bench, second.run_id)
    assert [version.version for version in second.versions()] == [2, 1]
    include(first, judge_of_first, included=True)
    third = ask_again(first, tuple(f"Later {piece}" for piece in MORE))
    held = claim_run(bench.storage, third.run())
    beginning = going_on.begin(bench, held, resumed=False)
    assert beginning.version == 2
    with bench.storage.database.reading() as session:
        (sample,) = samples.read_samples(session, bench.storage.keys, first.user.id, [judge_of_first])
    judging = "".join(bench.base.decode(block.token_ids) for block in beginning.split.test)
    assert "Later Piece" in judging
    assert sample.text not in judging


def include(asked: Asked, sample_id: str, *, included: bool) -> None:
    with asked.storage.database.session() as session:
        samples.set_included(session, asked.user.id, asked.voice_id, sample_id, included)


def test_after_a_deletion_training_starts_anew_and_the_new_version_knows_nothing_of_what_is_gone(bench: Bench) -> None:
    first = ask(bench.storage)
    tune(bench, first.run_id)
    with bench.storage.database.session() as session:
        gone = samples.included_ids(session, first.user.id, first.voice_id)[0]
    delete_first_sample(first)
    again = ask_again(first, MORE)
    tune(bench, again.run_id)
    assert (again.run().state, again.run().continues_version) == ("succeeded", None)
    assert "Begins anew: writing that version 1 learned from was deleted or left out" in again.messages()
    assert gone in (again.versions()[-1].trained_sample_ids or ())
    assert gone not in (again.versions()[0].trained_sample_ids or ())


def test_a_resumed_run_keeps_the_start_it_chose_though_another_version_is_in_use_now(bench: Bench) -> None:
    first = ask(bench.storage)
    tune(bench, first.run_id)
    long_enough = replace(bench, settings=replace(SETTINGS, max_steps=60, epochs=1000))
    again = ask_again(first, MORE)
    interrupted(long_enough, again)
    assert again.run().continues_version == 1
    with bench.storage.database.session() as session:
        voices.use_version(session, first.user.id, first.voice_id, None)
    tune(long_enough, again.run_id)
    assert (again.run().state, again.run().continues_version) == ("succeeded", 1)
    assert any(message.startswith("Went on from step") for message in again.messages())
    assert not any("began anew" in message for message in again.messages())


def test_a_version_of_another_base_model_is_not_gone_on_from_and_its_owner_is_told(
    bench: Bench, tmp_path: Path
) -> None:
    first = ask(bench.storage)
    tune(bench, first.run_id)
    again = ask_again(first, MORE)
    tune(replace(bench, config=replace(bench.config, base_model=str(save_tiny("gpt2", tmp_path)))), again.run_id)
    assert (again.run().state, again.run().continues_version) == ("succeeded", None)
    assert "Begins anew: the version in use belongs to another base model" in again.messages()


def test_a_damaged_version_is_not_gone_on_from_and_its_owner_is_told(bench: Bench) -> None:
    first = ask(bench.storage)
    tune(bench, first.run_id)
    with bench.storage.database.session() as session:
        voice = first_voice(bench.storage, first.user)
        version = voices.get_version(session, first.user.id, voice.id, 1)
        version.sealed = bytes([version.sealed[0] ^ 1]) + version.sealed[1:]
    prefixes.wipe_cached(bench.storage, first.user.id)
    again = ask_again(first, MORE)
    tune(bench, again.run_id)
    assert (again.run().state, again.run().continues_version) == ("succeeded", None)
    assert "Begins anew: the version in use can't be read" in again.messages()


def test_a_version_of_another_length_is_to_be_beaten_too_and_what_it_knew_does_not_judge(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []

    def watch(base: BaseModel, split: Split, *given: Any) -> Verdict:
        judged.append(split.digest)
        return judge(base, split, *given)

    monkeypatch.setattr(run_in_hand, "judge", watch)
    first = ask(bench.storage)
    tune(bench, first.run_id)
    longer = replace(bench, settings=replace(SETTINGS, num_virtual_tokens=6))
    again = ask_again(first, MORE)
    tune(longer, again.run_id)
    assert (again.run().state, again.run().continues_version) == ("succeeded", 1)
    assert again.run().figures["current_bits_per_char"] > 0
    assert "Begins anew: version 1, which it has to beat, is of another length" in again.messages()
    assert [going_on.split_of(side, again.run(), 6).digest for side in (bench, longer)] == [judged[1]] * 2
    assert going_on.split_of(longer, first.run(), 4).digest == judged[0]
