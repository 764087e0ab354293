"""What the writing page's form asks for, and the request to the API that asks for it: a continuation, a passage written
anew, or a text from a brief. Knows no session, no storage and no HTML."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from app.web.words import figures, gettext, marked

Task = Literal["continue", "rewrite", "brief"]
TASKS: tuple[Task, ...] = get_args(Task)
LENGTHS = {marked("short"): 40, marked("medium"): 120, marked("long"): 300}  # tokens
DEFAULT_LENGTH = "medium"
DEFAULT_TEMPERATURE = 0.8
MAX_TEMPERATURE = 2.0
DEFAULT_STRENGTH = 1.0
MAX_STRENGTH = 2.0
MAX_DRAFTS = 3  # two columns of so many, one of them beside the base model, are nine of the API's sixteen at once
MAX_TEXT_CHARS = 200_000
MAX_PASSAGE_CHARS = 4_000
MAX_BRIEF_CHARS = 4_000
_BYTES_A_TOKEN = 2  # of text, at the least; English has three or four, so this always leaves room
_REWRITTEN_TOKENS = (24, 400)
_REWRITE = "Write this passage anew. Keep what it says, and answer with the passage alone.\n\n"
_SPACE = re.compile(r"\s+")
_TOO_LONG = {
    "before": marked("The text before the cursor may hold %(most)s characters; this has %(given)s."),
    "passage": marked("The passage may hold %(most)s characters; this has %(given)s."),
    "brief": marked("The brief may hold %(most)s characters; this has %(given)s."),
}
BOUNDS = {
    "temperature": marked("Temperature goes from %(least)s to %(most)s."),
    "strength": marked("Strength goes from %(least)s to %(most)s."),
    "drafts": marked("The number of drafts goes from %(least)s to %(most)s."),
    "seed": marked("The seed goes from %(least)s to %(most)s."),
}


@dataclass(frozen=True)
class Reach:
    """What the base model can be asked. num_tokens: its context, beside the longest prefix of the voice.
    takes_requests: it has a chat template, so that it can be told what to write."""

    name: str
    num_tokens: int
    takes_requests: bool

    @property
    def num_words(self) -> int:
        """About how much of a text it surely reads before it goes on for a medium length."""
        room = self.num_tokens - self.at_most(LENGTHS[DEFAULT_LENGTH])
        return max(10, _BYTES_A_TOKEN * room // 6 // 10 * 10)

    @property
    def why_no_brief(self) -> str:
        """Why it can't be told what to write; empty where it can."""
        if self.takes_requests:
            return ""
        return gettext(
            "The base model %(model)s has no chat template: it goes on from a text and follows no brief.",
            model=self.name,
        )

    def at_most(self, max_tokens: int) -> int:
        """So many new tokens that half of the context is left to read."""
        return max(1, min(max_tokens, self.num_tokens // 2))


@dataclass(frozen=True)
class Wish:
    """What is asked for. before: the text up to where it goes on; passage: what is to be written anew; count: how many
    drafts."""

    task: Task
    before: str
    passage: str
    brief: str
    max_tokens: int
    temperature: float
    strength: float
    count: int
    seed: int

    @classmethod
    def from_form(cls, form: Mapping[str, str], reach: Reach) -> "Wish":
        """Read and check the form. Raises ValueError with a sentence for whoever filled it in."""
        task = next((known for known in TASKS if known == form.get("task", "continue")), None)
        if task is None:
            raise ValueError(gettext("Ask for a continuation, a passage written anew, or a text from a brief."))
        length = form.get("length", DEFAULT_LENGTH)
        if length not in LENGTHS:
            raise ValueError(gettext("Choose short, medium or long."))
        wish = cls(
            task=task,
            before=_text(form, "before", MAX_TEXT_CHARS),
            passage=_text(form, "passage", MAX_PASSAGE_CHARS),
            brief=_text(form, "brief", MAX_BRIEF_CHARS).strip(),
            max_tokens=LENGTHS[length],
            temperature=_number(form, "temperature", DEFAULT_TEMPERATURE, MAX_TEMPERATURE),
            strength=_number(form, "strength", DEFAULT_STRENGTH, MAX_STRENGTH),
            count=int(_number(form, "drafts", 1, MAX_DRAFTS, least=1)),
            seed=int(_number(form, "seed", 0, 2**31)),
        )
        wish._require_something(reach)
        return wish

    def request(self, reach: Reach, model: str, *, led: bool, stream: bool) -> tuple[str, dict[str, Any]]:
        """Where to ask, and the body. led: the model is a voice, which can be followed by degrees."""
        body: dict[str, Any] = {"model": model, "temperature": self.temperature, "seed": self.seed, "stream": stream}
        if led and self.strength != DEFAULT_STRENGTH:
            body["voice_strength"] = self.strength
        if self.count > 1:
            body["n"] = self.count
        max_tokens = reach.at_most(self._wanted_tokens())
        if request := self._in_words(reach):
            message = {"role": "user", "content": request}
            return "/v1/chat/completions", {**body, "messages": [message], "max_completion_tokens": max_tokens}
        # A word's token brings its own space; after a lone one, models stray.
        prompt = tail(self.before.rstrip(" "), reach.num_tokens - max_tokens)
        return "/v1/completions", {**body, "prompt": prompt, "max_tokens": max_tokens}

    def _require_something(self, reach: Reach) -> None:
        if self.task == "continue" and not self.before.strip():
            raise ValueError(gettext("Write a few words to begin with."))
        if self.task == "brief" and reach.why_no_brief:
            raise ValueError(reach.why_no_brief)
        if self.task == "brief" and not self.brief:
            raise ValueError(gettext("Say in a sentence or two what the text should be."))
        if self.task == "rewrite" and not self.passage.strip():
            raise ValueError(gettext("Select the words in your text that should be written anew."))
        if self.task == "rewrite" and not reach.takes_requests and not self.before.strip():
            raise ValueError(
                gettext(
                    "This base model writes a passage anew from what stands before it, and nothing does: select "
                    "something further on."
                )
            )

    def _in_words(self, reach: Reach) -> str:
        """What a model with a chat template is told; empty where it is to go on from a text."""
        if self.task == "continue" or not reach.takes_requests:
            return ""
        return self.brief if self.task == "brief" else _REWRITE + self.passage

    def _wanted_tokens(self) -> int:
        if self.task != "rewrite":
            return self.max_tokens
        least, most = _REWRITTEN_TOKENS
        return min(most, max(least, len(self.passage.encode()) // _BYTES_A_TOKEN))


def tail(text: str, num_tokens: int) -> str:
    """The end of a text that surely fits into so many tokens, from the beginning of a word."""
    kept = text.encode()[-_BYTES_A_TOKEN * max(1, num_tokens) :].decode(errors="ignore")
    if kept == text:
        return text
    space = _SPACE.search(kept)
    return kept[space.end() :] if space and space.end() < len(kept) else kept


def _text(form: Mapping[str, str], name: str, most: int) -> str:
    given = form.get(name, "").replace("\r\n", "\n")
    if len(given) > most:
        raise ValueError(gettext(_TOO_LONG[name], most=figures(f"{most:,}"), given=figures(f"{len(given):,}")))
    return given


def _number(form: Mapping[str, str], name: str, default: float, most: float, *, least: float = 0) -> float:
    try:
        given = float(form.get(name, "") or default)
    except ValueError:
        given = -1.0
    if not least <= given <= most:
        raise ValueError(gettext(BOUNDS[name], least=figures(f"{least:g}"), most=figures(f"{most:g}")))
    return given
