"""Conversations as token ids with the answers marked, in files, and rows of them. Owns the form that the chat template
writes, of which a test proves that both are the same; knows no model.

train.npz, val.npz: ids uint16, scored bool (what the loss counts: the answers and the token that ends each), starts
int64 (where a conversation begins), answer_bytes int64 (UTF-8 bytes of a conversation's answers).
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pretraining.conversation import Conversation, Deriver
from pretraining.corpus import Document, held_out_documents, training_documents
from pretraining.errors import CorpusUnusable
from pretraining.passages import document_frequencies
from pretraining.tokenizer import CONTROL_TOKENS, START_ID
from pretraining.tokens import Ids

_USER_ID, _ASSISTANT_ID, _SYSTEM_ID = 2, 3, 4
_FREQUENCIES_OF = 3_000  # documents


@dataclass(frozen=True, eq=False)
class Answers:
    """Conversations one after the other, each led by the document-start token, which also ends the one before."""

    ids: Ids  # [tokens]
    scored: NDArray[np.bool_]  # [tokens]
    starts: NDArray[np.int64]  # [conversations]
    answer_bytes: NDArray[np.int64]  # [conversations]

    @classmethod
    def open(cls, path: Path) -> "Answers":
        """Raises CorpusUnusable."""
        try:
            with np.load(path) as file:
                return cls(file["ids"], file["scored"], file["starts"], file["answer_bytes"])
        except (OSError, ValueError, KeyError) as wrong:
            raise CorpusUnusable(f"{path} holds no requests ({wrong}): make them with `requests`.") from wrong

    @classmethod
    def of(cls, conversations: Sequence[Conversation], tokenizer: Tokenizer, length: int) -> "Answers":
        """Those of at most `length` tokens. Raises CorpusUnusable when there is none."""
        ids: list[int] = []
        scored: list[bool] = []
        starts, sizes = [], []
        for conversation in conversations:
            own, own_scored = encode(conversation, tokenizer)
            if len(own) <= length:
                starts.append(len(ids))
                sizes.append(sum(len(answer.encode()) for _, answer in conversation.turns))
                ids += own[:-1]  # the next one's first token ends it
                # so that token is scored, save the very first
                scored += [bool(starts[1:]), *own_scored[1:-1]]
        if not starts:
            raise CorpusUnusable("No request was found in the held-out part or in the rest: the corpus is too small.")
        return cls(
            np.array([*ids, START_ID], dtype=np.uint16),
            np.array([*scored, True], dtype=np.bool_),
            np.array(starts, dtype=np.int64),
            np.array(sizes, dtype=np.int64),
        )

    def save(self, path: Path) -> None:
        """To one file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            path,
            ids=self.ids,
            scored=self.scored,
            starts=self.starts,
            answer_bytes=self.answer_bytes,
            allow_pickle=False,
        )

    def each(self) -> Iterator[tuple[Ids, NDArray[np.bool_]]]:
        """Every conversation alone, with the token that ends it."""
        ends = [*self.starts[1:], len(self.ids) - 1]
        for start, end in zip(self.starts, ends, strict=True):
            scored = self.scored[start : end + 1].copy()
            scored[0] = False
            yield self.ids[start : end + 1], scored


def encode(conversation: Conversation, tokenizer: Tokenizer) -> tuple[list[int], list[bool]]:
    """Ids in the chat template's form, from document start to the end of the last answer, and which are scored.
    Control tokens spelled out in a text stay text."""
    said = [(_SYSTEM_ID, conversation.system)] if conversation.system else []
    for request, answer in conversation.turns:
        said += [(_USER_ID, request), (_ASSISTANT_ID, answer)]
    ids, scored = [START_ID], [False]
    for speaker, text in said:
        answers = speaker == _ASSISTANT_ID
        end = [START_ID] if answers else _plain("\n", tokenizer)
        lead, words = [speaker, *_plain("\n", tokenizer)], [*_plain(text.strip(), tokenizer), *end]
        ids += lead + words
        scored += [False] * len(lead) + [answers] * len(words)
    return ids, scored


def derive(documents: Sequence[Document], most: int, per_document: int, seed: int) -> list[Conversation]:
    """Conversations of the documents in their order, `most` at most, shuffled."""
    sample = documents[:_FREQUENCIES_OF]
    deriver = Deriver(document_frequencies(document.text for document in sample), per_document)
    drawn, found = random.Random(seed), list[Conversation]()
    for document in documents:
        if len(found) >= most:
            break
        found += deriver.conversations(document, drawn)
    found = found[:most]
    drawn.shuffle(found)
    return found


def write_answers(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    folder: Path,
    length: int,
    most: int,
    per_document: int,
    seed: int,
) -> dict[str, object]:
    """Derive, encode and write both parts: the held-out documents of the first stage are held out here too. Returns how
    many conversations there are, and of which kinds. Raises CorpusUnusable."""
    kinds: Counter[str] = Counter()
    counts = {}
    for name, part in (("train", training_documents(documents)), ("val", held_out_documents(documents))):
        conversations = derive(part, most, per_document, seed)
        answers = Answers.of(conversations, tokenizer, length)
        answers.save(folder / f"{name}.npz")
        counts[name] = {"conversations": len(answers.starts), "tokens": len(answers.ids)}
        kinds.update(conversation.kind for conversation in conversations)
    return {**counts, "kinds": dict(sorted(kinds.items()))}


def _plain(text: str, tokenizer: Tokenizer) -> list[int]:
    """Ids of a text in which nothing is a control token."""
    tokenizer.encode_special_tokens = True
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    assert all(token >= len(CONTROL_TOKENS) for token in ids)
    return ids
