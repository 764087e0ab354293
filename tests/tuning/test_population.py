import json
import lzma
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tiny_model import make_prefix, make_tiny, save_tiny
from tests.tuning.texts import plain
from tuning import population, training_step
from tuning.base_model import BaseModel
from tuning.config import TuningConfig
from tuning.dataset import Block, text_blocks
from tuning.errors import ConfigurationError, TooLittleText, UnreadableText
from tuning.evaluation import bits_per_char
from tuning.memory import MemoryPlan
from tuning.population import FILE_NAME, load_population, main, train_population
from tuning.prefix import Prefix
from tuning.public_texts import LEAST_PIECES, MOST_PIECES, STRETCH_CHARS, Source, personal, read_texts, read_writers
from tuning.rehearsal import RehearsalSettings
from tuning.scoring import Pass, passes
from tuning.training import TrainingSettings
from tuning.training_step import StepPlan

SETTINGS = TrainingSettings(
    num_virtual_tokens=4, hidden=16, learning_rate=0.05, tokens_per_step=400, max_steps=20, evaluate_every=5
)
CONFIG = TuningConfig(num_virtual_tokens=4)


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama")


def public_texts(number: int) -> list[str]:
    return [f"Text {n}: the harbour lies still, and the boats knock. " * 9 for n in range(number)]


def test_a_population_prefix_helps_on_texts_it_has_not_seen(base: BaseModel) -> None:
    prefix = train_population(base, public_texts(150), SETTINGS)
    unseen = text_blocks(base, "Text 999: the harbour lies still, and the boats knock. " * 3, num_virtual_tokens=4)
    assert bits_per_char(base, prefix.to(dtype=base.dtype), unseen) < bits_per_char(base, None, unseen)


def test_what_everybody_starts_from_keeps_the_whole_of_what_it_learned(base: BaseModel) -> None:
    settings = replace(population.SETTINGS, num_virtual_tokens=4, max_steps=1, warmup_steps=1)
    one, whole = (
        train_population(base, public_texts(150), kept) for kept in (settings, replace(settings, offset_kept=1.0))
    )
    assert one.digest == whole.digest


def test_too_few_documents_are_refused_with_both_numbers(base: BaseModel) -> None:
    with pytest.raises(TooLittleText, match=r"100 documents.*more than 128"):
        train_population(base, public_texts(100), SETTINGS)


def test_it_is_found_beside_the_model_or_where_the_setting_says(base: BaseModel, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(make_prefix(base).to_bytes())
    beside = load_population(replace(CONFIG, base_model=str(tmp_path)), base)
    named = load_population(replace(CONFIG, population_prefix=str(tmp_path / FILE_NAME)), base)
    assert beside is not None
    assert named is not None
    assert beside.digest == named.digest == make_prefix(base).to(dtype=torch.float16).digest
    assert load_population(replace(CONFIG, base_model=str(tmp_path / "elsewhere")), base) is None


def test_one_that_cannot_be_used_is_refused_with_the_mend_not_left_out(base: BaseModel, tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    config = replace(CONFIG, base_model=str(tmp_path))
    mend = r"python -m tuning\.population"
    path.write_bytes(b"nonsense")
    with pytest.raises(ConfigurationError, match=mend):
        load_population(config, base)
    path.write_bytes(make_prefix(base).to_bytes())
    with pytest.raises(ConfigurationError, match=rf"made for another model.*{mend}"):
        load_population(config, make_tiny("llama", seed=1))
    with pytest.raises(ConfigurationError, match=rf"4 virtual tokens.*is 5\. Set that to 4.*{mend}"):
        load_population(replace(config, num_virtual_tokens=5), base)
    with pytest.raises(ConfigurationError, match="No such file"):
        load_population(replace(config, population_prefix=str(tmp_path / "gone")), base)


def write_public_texts(folder: Path) -> None:
    texts = public_texts(160)
    (folder / "inner").mkdir(parents=True)
    (folder / "one.txt").write_text("<|endoftext|>".join(texts[:60]))
    (folder / "inner" / "two.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[60:100]))
    with lzma.open(folder / "three.txt.xz", "wt", encoding="utf-8") as out:
        out.write("<|endoftext|>".join(texts[100:]))
    (folder / "notes.pdf").write_bytes(b"not read")


def test_the_command_makes_one_for_any_model_and_prints_what_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_tiny("gpt2", tmp_path / "model")
    write_public_texts(tmp_path / "texts")
    monkeypatch.setenv("IDIOLECT_BASE_MODEL", str(model))
    monkeypatch.setenv("IDIOLECT_NUM_VIRTUAL_TOKENS", "4")
    assert main([str(tmp_path / "texts"), "--out", str(model / FILE_NAME), "--steps", "2"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["texts"] == 160
    data = (model / FILE_NAME).read_bytes()
    assert facts["bytes"] == len(data)
    assert Prefix.from_bytes(data, facts["base_fingerprint"]).num_virtual_tokens == 4


def test_the_command_says_in_one_line_which_file_is_of_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short.txt").write_text(plain(5))
    monkeypatch.setenv("IDIOLECT_BASE_MODEL", str(save_tiny("llama", tmp_path / "model")))
    assert main([str(tmp_path / "short.txt"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "short.txt holds no document of 400 characters" in said
    assert not (tmp_path / "out").exists()


def test_the_most_personal_stretches_of_each_file_are_kept_without_speakers_names(tmp_path: Path) -> None:
    mine, dry = (
        "I told my sister that I was tired, and I meant it. ",
        "The harbour was dredged in the year of the flood. ",
    )
    (tmp_path / "talk.txt").write_text("<|endoftext|>".join([dry * 10, f"Ann Lee: {mine * 5}\nBob: {mine * 5}"]))
    (tmp_path / "book.md").write_text("<|endoftext|>".join([dry * 10, mine * 100]))
    kept = read_texts([Source.of(f"{tmp_path}:2")], seed=0)
    assert len(kept) == 4
    assert sum(personal(text) > 0.2 for text in kept) == 3
    assert not any("Ann" in text or "Bob:" in text for text in kept)
    assert max(map(len, read_texts([Source(tmp_path)], seed=0))) <= STRETCH_CHARS
    assert len(read_texts([Source(tmp_path)], seed=0)) == 5


def test_a_long_document_is_several_writers_and_a_short_one_none(tmp_path: Path) -> None:
    mine, dry = (sentence * 200 for sentence in ("I told my sister so. I was glad. ", "It was dredged in that year. "))
    (tmp_path / "all.txt").write_text("<|endoftext|>".join([mine[:3_000], mine * 4, dry * 2]))
    writers = read_writers([Source(tmp_path / "all.txt")], seed=0)
    assert len(writers) == 3  # 24 pieces of the long one, and ten dry ones
    assert all(LEAST_PIECES <= len(pieces) <= MOST_PIECES for pieces in writers)
    (kept,) = read_writers([Source(tmp_path / "all.txt", 1)], seed=0)
    assert personal(" ".join(kept)) > 0.2
    (tmp_path / "short.txt").write_text(mine[:3_000])
    assert len(read_writers([Source(tmp_path)], seed=0)) == 3  # of a folder, what is short is left out
    with pytest.raises(TooLittleText, match=r"short\.txt holds no document of 7 pieces"):
        read_writers([Source(tmp_path / "short.txt")], seed=0)


def test_the_command_rehearses_with_public_writers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, writers = save_tiny("llama", tmp_path / "model"), tmp_path / "writers.txt"
    write_public_texts(tmp_path / "texts")
    monkeypatch.setenv("IDIOLECT_BASE_MODEL", str(model))
    monkeypatch.setenv("IDIOLECT_NUM_VIRTUAL_TOKENS", "4")
    monkeypatch.setattr(population, "REHEARSAL", RehearsalSettings(writers=2, steps=2, looked_at=4))
    line = [str(tmp_path / "texts"), "--steps", "1", "--writers", str(writers), "--rehearsals", "1", "--out"]
    writers.write_text("<|endoftext|>".join(f"Writer {n} saw it. " * 500 for n in range(8)))
    plan, at_once = MemoryPlan(StepPlan(77), runs_together=2), set[int]()

    def packed(owned: Sequence[Sequence[Block]], tokens_at_once: int) -> list[Pass]:
        at_once.add(tokens_at_once)
        return passes(owned, tokens_at_once)

    monkeypatch.setattr(population, "plan_memory", lambda *_: plan)
    monkeypatch.setattr(training_step, "passes", packed)
    assert main([*line, str(model / FILE_NAME)]) == 0
    assert at_once == {77}, "the texts as well as the writers are trained on within the budget"
    printed = capsys.readouterr()
    assert json.loads(printed.out.splitlines()[-1])["writers"] == 8
    assert "rehearsal 1: public writers come" in printed.err
    assert "memory is for" not in printed.err
    plan = replace(plan, runs_together=1)
    assert main([*line, str(model / FILE_NAME)]) == 0
    assert "memory is for 1 writers at a time in place of 2" in capsys.readouterr().err
    for mistake in (["--rehearsals", "2"], ["--rehearsals", "0", "--writers", str(writers)]):
        with pytest.raises(SystemExit):
            main([str(tmp_path / "texts"), "--out", str(tmp_path / "none"), *mistake])
    writers.write_text("<|endoftext|>".join(f"Writer {n} saw it. " * 500 for n in range(2)))
    assert main([*line, str(tmp_path / "none")]) == 2
    assert "2 writers are too few; rehearsals need at least 6" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "none").exists()


def test_none_means_no_shared_start_even_where_the_model_has_one(base: BaseModel, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(make_prefix(base).to_bytes())
    config = replace(CONFIG, base_model=str(tmp_path))
    assert load_population(config, base) is not None
    assert load_population(replace(config, population_prefix="none"), base) is None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cut.jsonl", b'{"text": "x'),
        ("other.jsonl", b'{"words": "x"}'),
        ("list.jsonl", b"[1, 2]"),
        ("plain.txt.xz", b"not compressed"),
        ("cut.txt.xz", lzma.compress(b"x" * 99999)[:60]),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnreadableText, match=name):
        read_texts([Source(tmp_path / name)], seed=0)


def test_a_folder_that_is_not_there_is_found_out_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--out", str(tmp_path / "gone" / FILE_NAME)]) == 2
    assert "gone of --out does not exist" in capsys.readouterr().err
