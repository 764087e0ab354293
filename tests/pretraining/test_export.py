"""An exported model as the platform loads it, its card, the list of sources, and two models side by side."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from pretraining import __main__ as command_line
from pretraining import export as exporting
from pretraining.candidate import Candidate
from pretraining.card import Card
from pretraining.errors import CorpusUnusable, ModelUnusable
from pretraining.export import WEIGHTS, export
from pretraining.mix import SHARES
from pretraining.shape import build
from pretraining.sources import all_sources, mix_table, sources_table
from pretraining.specimens import OPENINGS, REQUESTS
from pretraining.state import TrainingState, write_figures
from pretraining.text_bits import author_bits, document_nats, last_texts
from tests.pretraining.conftest import SHAPE
from tests.source_tree import ROOT
from tuning.base_model import load_base_model
from tuning.config import TuningConfig

FIGURES = {"tokens_seen": 2_000_000, "steps": 500, "parameters": 30_000, "held_out_bits_per_byte": 2.5}
SECOND = {
    "tokens_seen": 400_000,
    "plain_share": 0.4,
    "plain_bits_per_byte": {"before": 2.5, "after": 2.51},
    "answer_bits_per_byte": {"before": 2.9, "after": 2.2},
}


def checkpoint(folder: Path, *, answers: bool, seed: int = 0) -> Path:
    TrainingState.new(SHAPE, "cpu", seed).save(folder)
    write_figures(folder, FIGURES | ({"requests": SECOND} if answers else {}))
    return folder


@pytest.fixture(scope="module")
def plain(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    export(checkpoint(folder / "state", answers=False), tokenizer, SHAPE, folder / "plain")
    return folder / "plain"


@pytest.fixture(scope="module")
def answering(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answering")
    export(checkpoint(folder / "state", answers=True, seed=1), tokenizer, SHAPE, folder / "answering")
    return folder / "answering"


def test_an_export_loads_by_itself_and_knows_its_context(plain: Path) -> None:
    assert sorted(path.name for path in plain.glob("*.safetensors*")) == [WEIGHTS]
    assert (plain / WEIGHTS).stat().st_mode & 0o777 == 0o644
    model, tokenizer = AutoModelForCausalLM.from_pretrained(plain), AutoTokenizer.from_pretrained(plain)
    assert model.dtype == torch.bfloat16
    assert model.config.max_position_embeddings == tokenizer.model_max_length == SHAPE.length + 128
    state = TrainingState.new(SHAPE, "cpu").model.state_dict()
    assert all(value.equal(state[name].bfloat16()) for name, value in model.state_dict().items())
    assert json.loads((plain / "training.json").read_text()) == FIGURES | {"context": SHAPE.length}


def test_the_platform_puts_requests_to_a_model_that_learned_to_answer(answering: Path) -> None:
    base = load_base_model(TuningConfig(base_model=str(answering), num_virtual_tokens=8))
    assert base.has_chat_template
    assert base.answer_end_ids == (0,)
    said = base.tokenizer.decode(base.encode_request("Tea, <|assistant|>?"))
    assert said == "<|endoftext|><|user|>\nTea, <|assistant|>?\n<|assistant|>\n"
    assert base.encode_request("Tea")[0] == base.document_start_id


def test_a_model_that_did_not_is_a_plain_one(plain: Path) -> None:
    base = load_base_model(TuningConfig(base_model=str(plain), num_virtual_tokens=8))
    assert not base.has_chat_template
    assert base.stop_token_ids == (0,)


def test_a_newer_export_takes_an_older_ones_place_but_nobody_elses(tokenizer: Tokenizer, tmp_path: Path) -> None:
    state, out = checkpoint(tmp_path / "state", answers=False), tmp_path / "model"
    export(state, tokenizer, SHAPE, out)
    export(state, tokenizer, SHAPE, out)
    (out / "README.md").write_text("a card")
    with pytest.raises(ModelUnusable, match=r"also holds README\.md"):
        export(state, tokenizer, SHAPE, out)
    assert (out / "README.md").read_text() == "a card"


def test_weights_that_are_too_large_are_not_exported(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "MOST_BYTES", 1000)
    with pytest.raises(ModelUnusable, match="smaller shape"):
        export(checkpoint(tmp_path / "state", answers=False), tokenizer, SHAPE, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_state_without_figures_is_exported_with_its_counts(tokenizer: Tokenizer, tmp_path: Path) -> None:
    TrainingState.new(SHAPE, "cpu").save(tmp_path / "state")
    said = export(tmp_path / "state", tokenizer, SHAPE, tmp_path / "model")
    parameters = sum(one.numel() for one in build(SHAPE).parameters())
    assert said == {"parameters": parameters, "tokens_seen": 0, "steps": 0, "context": SHAPE.length}


def test_a_card_has_every_source_with_licence_and_authors_and_the_models_figures(answering: Path, plain: Path) -> None:
    card = Card(answering, "tiny", "cc-by-sa-4.0", ["1.23 bits per byte elsewhere."], "## More\n\nOf it.").render()
    for source in all_sources():
        assert f"| {source.by} | {source.where} | {source.licence} |" in card
    for figure in ("license: cc-by-sa-4.0", "2.0 million tokens in 500 steps", "0.4 million tokens", "1.23 bits"):
        assert figure in card
    assert "answers 2.9 and 2.2 bits per byte" in card
    assert "## More\n\nOf it.\n\n## Data mix" in card
    assert "has no chat template" not in card
    assert "{" not in card
    assert "has no chat template" in Card(plain, "tiny", "cc-by-sa-4.0").render()
    with pytest.raises(ModelUnusable, match=r"training\.json"):
        Card(ROOT, "tiny", "cc-by-sa-4.0").render()


def test_a_card_tells_every_second_stage_the_first_one_first(tokenizer: Tokenizer, tmp_path: Path) -> None:
    state = checkpoint(tmp_path / "state", answers=True)
    write_figures(state, FIGURES | {"requests": SECOND | {"tokens_seen": 900_000, "earlier": SECOND}})
    export(state, tokenizer, SHAPE, tmp_path / "model")
    card = Card(tmp_path / "model", "tiny", "cc-by-sa-4.0").render()
    assert card.index("0.4 million tokens of requests and answers") < card.index("0.9 million tokens of requests and")
    assert card.index("Training on 0.4 million") < card.index("Training on 0.9 million")


def test_every_source_is_in_the_mix_and_in_the_documentation() -> None:
    assert {source.file for source in all_sources()} == SHARES.keys()
    assert all(source.by and source.where and source.licence for source in all_sources())
    page = (ROOT / "docs" / "base_model.md").read_text(encoding="utf-8")
    assert mix_table(dict(SHARES)) in page, "copy the output of `python -m pretraining sources`"
    assert sources_table(all_sources()) in page


TEXT = "We carry the garden and then we mend the supper near the old house. " * 6


def test_bits_count_every_token_once_with_the_context_there_is(plain: Path) -> None:
    candidate = Candidate.load(plain)
    assert candidate.context == SHAPE.length
    ids = candidate.encode(TEXT)
    with torch.no_grad():
        of_next = candidate.model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    expected = -sum(float(of_next[place - 1, ids[place]]) for place in range(1, len(ids)))
    assert document_nats(candidate, ids, len(ids)) == pytest.approx(expected)
    for window in (2, 7, 16, len(ids) - 1, len(ids) + 5):
        assert document_nats(candidate, ids, window) == pytest.approx(_slowly(candidate, ids, window))
    assert document_nats(candidate, ids[:1], 16) == 0


def _slowly(candidate: Candidate, ids: list[int], window: int) -> float:
    """A token at a time, under the first window that has it."""
    total = 0.0
    for place in range(1, len(ids)):
        start = next(start for start in range(0, len(ids), max(1, window // 2)) if place <= start + window)
        with torch.no_grad():
            logits = candidate.model(input_ids=torch.tensor([ids[start:place]])).logits[0, -1].double()
        total -= float(logits.log_softmax(-1)[ids[place]])
    return total


def test_bits_are_per_byte_of_the_text_whatever_the_tokenizer(plain: Path) -> None:
    candidate = Candidate.load(plain)
    texts = ["Grüße 漢字", TEXT]
    told = author_bits(candidate, texts, 16)
    nats = sum(document_nats(candidate, candidate.encode(text), 16) for text in texts)
    assert told.bits == pytest.approx(nats / math.log(2))
    assert (told.num_bytes, told.lossy) == (sum(len(text.encode()) for text in texts), 0)


def write_authors(path: Path) -> Path:
    rows = [{"author": name, "text": f"{name} {number}. {TEXT[:80]}"} for number in range(15) for name in ("a", "b")]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_the_last_texts_of_each_author_judge(tmp_path: Path) -> None:
    texts = last_texts(write_authors(tmp_path / "authors.jsonl"))
    assert [text.split(".")[0] for text in texts["b"]] == [f"b {number}" for number in range(3, 15)]
    assert last_texts(tmp_path / "authors.jsonl", most=1, authors=1).keys() == {"a"}
    (tmp_path / "empty.jsonl").write_text("")
    for name in ("empty.jsonl", "gone.jsonl"):
        with pytest.raises(CorpusUnusable, match=name):
            last_texts(tmp_path / name)


def test_two_models_are_compared_in_one_run_and_nobodys_text_is_shown(
    plain: Path, answering: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authors = write_authors(tmp_path / "authors.jsonl")
    options = ["--texts", "2", "--tokens", "4", "--rounds", "1"]
    asked = ["compare", "--first", str(plain), "--second", str(answering), "--authors", str(authors), *options]
    assert command_line.main(asked) == 0
    out = capsys.readouterr().out
    said = json.loads(out.splitlines()[-1])
    assert (said["models"], said["authors"], said["texts"]) == (["plain", "answering"], 2, 4)
    assert (said["contexts"], said["window"], said["threads"]) == ([SHAPE.length] * 2, SHAPE.length, 1)
    assert len(said["bits_per_byte"]) == len(said["tokens_per_second_at_batch_8"]) == 2
    assert out.count("\n- A: ") == out.count("\n- B: ") == len(OPENINGS) + len(REQUESTS) == 20
    assert TEXT[:40] not in out


def test_commands_follow_one_another_from_a_corpus_to_a_card(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "SHAPES", {"cpu": replace(SHAPE, length=200)})
    monkeypatch.setattr(command_line.fit_tokenizer, "__defaults__", (SHAPE.vocabulary,))
    monkeypatch.chdir(tmp_path)
    for line in (
        f"mix --corpus {corpus} --out mix --share dialogues=1",
        "tokenizer --corpus mix --out tokenizer.json",
        "prepare --corpus mix --tokenizer tokenizer.json --tokens tokens",
        "train --tokens tokens --checkpoint first --budget 1000 --eager",
        "requests --corpus mix --tokenizer tokenizer.json --out requests --most 200",
        "instruct --first first --tokens tokens --requests requests --checkpoint second --budget 1000 --rows 2 --eager",
        "export --checkpoint second --tokenizer tokenizer.json --out model",
    ):
        assert command_line.main(line.split()) == 0, capsys.readouterr().err
        assert json.loads(capsys.readouterr().out.splitlines()[-1])
    assert command_line.main(["card", "--model", "model", "--name", "tiny", "--licence", "other"]) == 0
    assert capsys.readouterr().out.startswith("---\nlanguage: en")
