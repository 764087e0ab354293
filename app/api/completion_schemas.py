"""The fields of /v1/completions, as OpenAI's clients send and read them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from app.api.logprobs import MAX_LOGPROBS, CompletionLogprobs
from app.api.schemas import Out, Text
from app.api.speaking_schemas import Answered, OnlyAt, Wish

# The first fault of a list is told alone: collecting one for each of many thousand items takes seconds and gigabytes.
TokenIds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, fail_fast=True)]
# several are refused by the view, in a sentence of its own
OnePrompt = Annotated[list[Text | TokenIds], Field(min_length=1, fail_fast=True, json_schema_extra={"maxItems": 1})]


class CompletionRequest(Wish):
    """A prompt to go on from, in the base model's voice or in the caller's own."""

    prompt: Text | OnePrompt | TokenIds = Field(
        default="", description="A text, or token ids, or a list of exactly one of these."
    )
    max_tokens: int | None = Field(
        default=None, ge=1, description="At most so many new tokens, and no more than fit; 16 if not given."
    )
    logprobs: int | None = Field(
        default=None,
        ge=0,
        le=MAX_LOGPROBS,
        description="How likely each token was, and so many of the likeliest. Refused where it is switched off.",
    )
    best_of: Annotated[Any, OnlyAt(1)] = None
    echo: Annotated[Any, OnlyAt(False)] = None
    suffix: Annotated[Any, OnlyAt()] = None

    @property
    def num_logprobs(self) -> int | None:
        """So many of the likeliest tokens; None: nothing of that kind."""
        return self.logprobs


class Choice(Out):
    """One continuation of the prompt, or a piece of one."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: Literal["stop", "length"] | None


class Completion(Answered):
    """A whole answer, or one chunk of a stream. `idiolect` is null for the base model."""

    object: Literal["text_completion"] = "text_completion"
    choices: list[Choice]
