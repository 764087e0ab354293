"""Requests derived from text: what is found, that nothing is made up, and how rows of them are drawn."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from pretraining.answers import Answers, derive, write_answers
from pretraining.corpus import Document, documents_in, held_out_documents, training_documents
from pretraining.errors import CorpusUnusable
from pretraining.passages import (
    central_sentence,
    document_frequencies,
    keywords,
    paragraphs,
    sentences,
    title_and_body,
    turns,
    whole_sentences,
)
from pretraining.phrasings import PHRASINGS
from pretraining.second_stage import answer_rows
from tests.pretraining.conftest import SHAPE
from tuning import made_prompts

FROM_A_WALK = (
    "Mr. Hale went out before breakfast. The river path was wet, and the river was high. “Mind the river!” called "
    "his wife. He came home along the path by noon, and hungry."
)


def test_sentences_are_told_apart_and_abbreviations_do_not_end_them() -> None:
    assert sentences(FROM_A_WALK)[0] == "Mr. Hale went out before breakfast."
    assert len(sentences(FROM_A_WALK)) == 4
    assert " ".join(sentences(FROM_A_WALK)) == FROM_A_WALK


def test_the_central_sentence_shares_most_words_with_the_others() -> None:
    assert central_sentence(FROM_A_WALK) == "The river path was wet, and the river was high."
    assert central_sentence("One thing. Another matter.") is None


def test_keywords_are_those_that_other_texts_have_not() -> None:
    frequencies = document_frequencies([FROM_A_WALK, *["Before noon they went along with his wife."] * 9, FROM_A_WALK])
    assert keywords(FROM_A_WALK, frequencies, most=3) == ["breakfast", "river", "path"]
    assert "noun" not in frequencies


@pytest.mark.parametrize(
    ("text", "title"),
    [
        (f"A walk before breakfast\n\n{FROM_A_WALK}", "A walk before breakfast"),
        (f"## **A walk**\n{FROM_A_WALK}", "A walk"),
        (f"CHAPTER XI\n\n{FROM_A_WALK}", None),
        (f"This is a sentence.\n\n{FROM_A_WALK}", None),
        (f"Ann Lee: Welcome back\n\n{FROM_A_WALK}", None),
        ("A walk before breakfast\n\n| a | table |", None),
        ("", None),
    ],
)
def test_a_title_is_a_short_first_line_above_prose(text: str, title: str | None) -> None:
    found = title_and_body(text)
    assert (found and found[0]) == title


def test_only_prose_of_a_fit_length_is_a_paragraph() -> None:
    code = "def f(x): return {x: [1, 2, 3]}; # " * 8
    assert paragraphs(f"{FROM_A_WALK}\nShort one.\n{code}\nAnn Lee: {FROM_A_WALK}") == [FROM_A_WALK]


def test_an_answer_ends_with_a_sentence() -> None:
    assert whole_sentences(FROM_A_WALK, 60) == "Mr. Hale went out before breakfast."
    assert whole_sentences(FROM_A_WALK, 110).endswith("“Mind the river!”")
    assert whole_sentences("no end at all " * 50, 60) == ""


def test_turns_keep_their_speakers_and_lines() -> None:
    assert turns("Ann Lee: One.\nTwo.\n\nBob: Three?") == [("Ann Lee", "One.\nTwo."), ("Bob", "Three?")]


def test_every_kind_is_derived_and_every_answer_stands_in_its_text(corpus: Path) -> None:
    documents = documents_in(corpus)
    texts = "\n".join(document.text for document in documents)
    conversations = derive(documents, most=800, per_document=3, seed=1)
    kinds = {"title", "opening", "summary", "keywords", "reply", "dialogue", "asking"}
    assert {one.kind for one in conversations} == kinds
    assert all(answer in texts for one in conversations if one.kind != "asking" for _, answer in one.turns)
    assert len({one.turns[0][0].split()[0] for one in conversations if one.kind == "title"}) > 3
    assert {one.system for one in conversations if one.kind == "reply"} > {""}
    assert not any(one.system for one in conversations if one.kind == "title")
    assert max(len(one.turns) for one in conversations if one.kind == "dialogue") == 2


def test_some_requests_are_asked_for_by_their_text_as_the_platform_does(corpus: Path) -> None:
    documents = documents_in(corpus)
    texts = "\n".join(document.text for document in documents)
    asking = [one for one in derive(documents, most=800, per_document=3, seed=1) if one.kind == "asking"]
    before, _, after = made_prompts._QUESTION.partition("{excerpt}")
    asked = [one.turns[0][0] for one in asking if one.turns[0][0].endswith(after)]
    assert len(asking) > len(asked) > 0
    assert all(question.removeprefix(before).removesuffix(after) in texts for question in asked)
    worded = [re.escape(words) for kind in ("title", "keywords") for words in PHRASINGS[kind]]
    one_of_them = re.compile("|".join(words.replace(r"\{form\}", ".+").replace(r"\{given\}", ".+") for words in worded))
    assert all(one_of_them.fullmatch(one.turns[0][1]) for one in asking)
    assert not any(one.turns[0][1] in one.turns[0][0] for one in asking if "“" in one.turns[0][1])


def test_one_seed_derives_the_same_and_another_one_others(corpus: Path) -> None:
    documents = documents_in(corpus)[:60]
    assert derive(documents, 50, 2, seed=1) == derive(documents, 50, 2, seed=1)
    assert derive(documents, 50, 2, seed=1) != derive(documents, 50, 2, seed=2)
    assert len(derive(documents, 10, 2, seed=1)) == 10


def test_topical_conversations_of_two_letters_are_dialogues_too() -> None:
    (found,) = derive([Document("dialogues", "A: Do you dance?\nB: I do not.\nA: Oh.\nB: Yes.")], 9, 4, seed=0)
    assert found.turns == (("Do you dance?", "I do not."), ("Oh.", "Yes."))


def test_files_hold_the_held_out_documents_apart(corpus: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    documents = documents_in(corpus)
    said = write_answers(documents, tokenizer, tmp_path, 400, most=300, per_document=2, seed=0)
    train, held_out = Answers.open(tmp_path / "train.npz"), Answers.open(tmp_path / "val.npz")
    assert said["train"] == {"conversations": len(train.starts), "tokens": len(train.ids)}
    for answers, part in ((train, training_documents(documents)), (held_out, held_out_documents(documents))):
        texts = "\n".join(document.text for document in part)
        for (ids, scored), size in zip(answers.each(), answers.answer_bytes, strict=True):
            assert (ids[0], ids[-1], ids.tolist().count(2)) == (0, 0, ids.tolist().count(3))
            pieces = np.split(ids, np.flatnonzero(np.diff(scored)) + 1)[1::2]
            said_there = [tokenizer.decode(piece.tolist()) for piece in pieces]
            excerpt = [line for line in tokenizer.decode(ids[~scored].tolist()).splitlines() if len(line) > 100]
            assert all(answer in texts for answer in said_there) or (excerpt and excerpt[0] in texts)
            assert sum(len(answer.encode()) for answer in said_there) == size


def test_conversations_that_are_too_long_are_left_out(corpus: Path, tokenizer: Tokenizer) -> None:
    conversations = derive(documents_in(corpus), 200, 2, seed=0)
    answers = Answers.of(conversations, tokenizer, 80)
    assert 0 < len(answers.starts) < len(conversations)
    assert max(len(ids) for ids, _ in answers.each()) <= 80
    with pytest.raises(CorpusUnusable, match="too small"):
        Answers.of(conversations, tokenizer, 3)


def test_rows_begin_with_a_conversation_and_score_answers_alone(corpus: Path, tokenizer: Tokenizer) -> None:
    answers = Answers.of(derive(documents_in(corpus), 200, 2, seed=0), tokenizer, 80)
    inputs, targets = answer_rows(answers, 6, SHAPE.length, seed=0, device="cpu")()
    assert inputs.shape == targets.shape == (6, SHAPE.length)
    assert (inputs[:, 0] == 0).all()
    assert ((inputs[:, 1] == 2) | (inputs[:, 1] == 4)).all()
    counted = targets != -100
    assert counted.any()
    assert (targets[:, :-1][counted[:, :-1]] == inputs[:, 1:][counted[:, :-1]]).all()
    assert not ((targets == 2) | (targets == 3) | (targets == 4)).any(), "what a speaker's token is nobody predicts"
    with pytest.raises(CorpusUnusable, match="too few"):
        answer_rows(answers, 6, 10**6, seed=0, device="cpu")


def test_a_seed_draws_the_same_rows(corpus: Path, tokenizer: Tokenizer) -> None:
    answers = Answers.of(derive(documents_in(corpus), 200, 2, random.Random(3).randrange(9)), tokenizer, 80)
    (one, _), (same, _), (other, _) = (answer_rows(answers, 4, 32, seed, "cpu")() for seed in (5, 5, 6))
    assert one.equal(same)
    assert not one.equal(other)
