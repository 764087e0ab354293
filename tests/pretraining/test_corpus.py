"""Documents, the mix of sources, and token files."""

import json
import lzma
import random
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from pretraining.corpus import (
    Document,
    documents_in,
    held_out_documents,
    is_held_out,
    read_pieces,
    training_documents,
)
from pretraining.errors import CorpusUnusable
from pretraining.mix import SHARES, draw, write_mix
from pretraining.personal import first_person_rate, is_personal
from pretraining.tokens import Tokens, write_tokens


def test_documents_have_always_the_same_order_and_a_held_out_part(corpus: Path) -> None:
    documents = documents_in(corpus)
    assert documents == documents_in(corpus)
    assert {document.source for document in documents[:50]} == {"open_prose", "dialogues", "changelog"}
    assert held_out_documents(documents) == [documents[7], documents[407]]
    assert len(training_documents(documents)) == len(documents) - 2


def test_a_long_document_is_cut_and_a_short_one_left_out(tmp_path: Path) -> None:
    with lzma.open(tmp_path / "book.txt.xz", "wt") as out:
        out.write("<|endoftext|>".join(["x" * 45_000, "too short", "y" * 80]))
    assert sorted(len(document.text) for document in documents_in(tmp_path)) == [80, 5_000, 20_000, 20_000]


@pytest.mark.parametrize("data", [None, b"no xz", lzma.compress(b"x" * 9999)[:50]])
def test_a_corpus_that_cannot_be_read_is_named(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / "book.txt.xz").write_bytes(data)
    with pytest.raises(CorpusUnusable, match=str(tmp_path)):
        documents_in(tmp_path)


def test_a_share_is_drawn_by_the_sources_name_and_keeps_the_order(corpus: Path, tmp_path: Path) -> None:
    said = write_mix(corpus, tmp_path / "mix", SHARES | {"dialogues": 0.6})
    pieces = read_pieces(corpus / "dialogues.txt.xz")
    kept = read_pieces(tmp_path / "mix" / "dialogues.txt.xz")
    drawn = random.Random("dialogues")
    assert kept == [piece for piece in pieces if drawn.random() < 0.6]
    assert (said["dialogues"]["documents"], said["dialogues"]["kept"]) == (len(pieces), len(kept))
    assert read_pieces(tmp_path / "mix" / "open_prose.txt.xz") == read_pieces(corpus / "open_prose.txt.xz")
    assert draw("any", pieces, 0) == []


def test_a_source_without_a_share_is_asked_for(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusUnusable, match="--share changelog="):
        write_mix(corpus, tmp_path, {"open_prose": 1.0, "dialogues": 1.0})


def test_token_files_hold_every_document_once_behind_its_start(
    corpus: Path, tokenizer: Tokenizer, tokens: Path
) -> None:
    documents = documents_in(corpus)
    ids = np.fromfile(tokens / "train.bin", dtype=np.uint16)
    held_out = np.fromfile(tokens / "val.bin", dtype=np.uint16)
    expected = [[0, *tokenizer.encode(document.text).ids] for n, document in enumerate(documents) if not is_held_out(n)]
    assert ids.tolist() == [token for document in expected for token in document]
    own = np.fromfile(tokens / "personal.bin", dtype=np.uint16)
    persons = [one for one in training_documents(documents) if one.source == "open_prose"]
    assert own.tolist() == [token for one in persons for token in (0, *tokenizer.encode(one.text).ids)]
    meta = json.loads((tokens / "meta.json").read_text())
    assert meta == {
        "train_tokens": len(ids),
        "personal_tokens": len(own),
        "val_tokens": len(held_out),
        "val_bytes": sum(len(document.text.encode()) for document in held_out_documents(documents)),
    }


def test_somebody_s_own_writing_is_of_a_written_source_and_in_the_first_person() -> None:
    told = "I went out with my dog before anyone else was up, and we saw the heron again."
    assert first_person_rate(told) == 2 / 17
    assert is_personal(Document("org_blogs", told))
    assert not is_personal(Document("changelog", told))
    assert not is_personal(Document("open_prose", "For each i the loop adds one. It is done when none is left."))


def test_a_corpus_of_nobody_s_writing_is_refused(corpus: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    others = [document for document in documents_in(corpus) if document.source != "open_prose"] * 3
    with pytest.raises(CorpusUnusable, match="own writing"):
        write_tokens(others, tokenizer, tmp_path)


def test_too_few_tokens_are_found_out_before_training(tokens: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusUnusable, match="too few for 100000"):
        Tokens.open(tokens, 100_000)
    with pytest.raises(CorpusUnusable, match="prepare"):
        Tokens.open(tmp_path, 8)
