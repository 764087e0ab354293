"""Openings and requests that every model is shown, and what models make of them, as Markdown. Owns the prompts, written
for this purpose; judges nothing."""

from collections.abc import Iterator, Sequence

import torch

from pretraining.candidate import Candidate

TEMPERATURE = 0.8
OPENINGS = (
    "I have been meaning to write this down for",
    "This morning the bus was late again, and",
    "When I was seven my grandmother taught me how to",
    "We spent the whole weekend trying to fix the",
    "The first thing you notice about the new office is",
    "Nobody tells you, when you move to another city, that",
    "Here is what I learned from my first year of teaching:",
    "It rained, so we stayed in and",
    "Dear all,\n\nThank you for coming to the meeting on Tuesday.",
    "The old man put down his hat and said,",
)
REQUESTS = (
    "Write a short piece called “A walk before breakfast”.",
    "Go on from this beginning: The train had left without us.",
    "Write a few sentences about bread, morning, kitchen.",
    "Say more about this: I like small towns better than big cities.",
    "How do you decide what to work on first?",
    "Can you help me find a restaurant for tonight?",
    "Write a blog post with the title “What I would do differently”.",
    "What do you think about working from home?",
    "Write a paragraph with these words: garden, neighbour, winter.",
    "Tell me about a book that you liked.",
)


def written(candidate: Candidate, ids: list[int], seed: int, tokens: int) -> str:
    """Sampled at the temperature from all tokens; for one seed and machine always the same."""
    torch.manual_seed(seed)
    made = candidate.generate([ids], do_sample=True, temperature=TEMPERATURE, top_k=0, top_p=1.0, max_new_tokens=tokens)
    return candidate.decode(made[0].tolist())


def markdown(candidates: Sequence[Candidate], tokens: int) -> Iterator[str]:
    """Every opening and every request with what each of the models wrote."""
    yield f"## Continuations (temperature {TEMPERATURE}, seed = number)"
    for seed, opening in enumerate(OPENINGS, 1):
        yield _item(seed, opening, [written(one, one.encode(opening), seed, tokens) for one in candidates])
    yield f"## Answers (temperature {TEMPERATURE}, seed = number)"
    for seed, request in enumerate(REQUESTS, 1):
        yield _item(seed, request, [written(one, one.encode_request(request), seed, tokens) for one in candidates])


def _item(number: int, prompt: str, texts: Sequence[str]) -> str:
    shown = [f"**{number}. {_one_line(prompt)}**"]
    shown += [f"- {chr(ord('A') + place)}: {_one_line(text)}" for place, text in enumerate(texts)]
    return "\n".join(shown)


def _one_line(text: str) -> str:
    return " ⏎ ".join(line.strip() for line in text.strip().splitlines() if line.strip()) or "(nothing)"
