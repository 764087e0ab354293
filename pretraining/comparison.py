"""Two model folders side by side on this machine: bits per byte of the same texts, speed of decoding, specimens. Owns
what is compared and in which turn; knows nothing of how the models were made."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pretraining.candidate import Candidate
from pretraining.text_bits import AuthorBits, author_bits

BATCHES = (1, 8)
_PROMPT = "Last summer we walked along the river every evening, and"


def compare_bits(candidates: Sequence[Candidate], texts: dict[str, list[str]]) -> dict[str, Any]:
    """Bits per byte over all authors' texts, in windows of the smallest context, and for how many authors the last of
    the models needs fewer bits than the first."""
    window = min(candidate.context for candidate in candidates)
    by_model = [[author_bits(candidate, own, window) for own in texts.values()] for candidate in candidates]
    return {
        "bits_per_byte": [round(_per_byte(authors), 4) for authors in by_model],
        "lossy_texts": [sum(author.lossy for author in authors) for authors in by_model],
        "authors": len(texts),
        "authors_better_under_second": sum(
            last.bits < first.bits for first, last in zip(by_model[0], by_model[-1], strict=True)
        ),
        "texts": sum(map(len, texts.values())),
        "bytes": sum(author.num_bytes for author in by_model[0]),
        "window": window,
    }


def compare_speed(candidates: Sequence[Candidate], tokens: int, rounds: int) -> dict[str, Any]:
    """Tokens per second of greedy `model.generate`, the median of the rounds. In every round each model has its turn:
    what else the machine does falls on all of them."""
    seconds: dict[tuple[int, int], list[float]] = {}
    for turn in range(rounds + 1):  # the first one warms up
        for batch in BATCHES:
            for place, candidate in enumerate(candidates):
                took = _seconds(candidate, batch, tokens)
                if turn:
                    seconds.setdefault((batch, place), []).append(took)
    return {
        f"tokens_per_second_at_batch_{batch}": [
            round(batch * tokens / statistics.median(seconds[batch, place]), 1) for place in range(len(candidates))
        ]
        for batch in BATCHES
    } | {"rounds": rounds, "new_tokens": tokens, "threads": torch.get_num_threads()}


def described(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Which models these are."""
    return {
        "models": [_name(candidate.folder) for candidate in candidates],
        "parameters": [sum(one.numel() for one in candidate.model.parameters()) for candidate in candidates],
        "contexts": [candidate.context for candidate in candidates],
    }


def _name(folder: Path) -> str:
    return folder.resolve().name


def _per_byte(authors: Sequence[AuthorBits]) -> float:
    return sum(author.bits for author in authors) / sum(author.num_bytes for author in authors)


def _seconds(candidate: Candidate, batch: int, tokens: int) -> float:
    rows = [candidate.encode(_PROMPT)] * batch
    began = time.perf_counter()
    candidate.generate(rows, do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens)
    return time.perf_counter() - began
