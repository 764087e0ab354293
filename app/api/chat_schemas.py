"""The fields of /v1/chat/completions, as OpenAI's clients send and read them."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from app.api.logprobs import MAX_LOGPROBS, ChatLogprobs
from app.api.schemas import Body, Out, Text
from app.api.speaking_schemas import Answered, OnlyAt, Wish, at_odds

MAX_MESSAGES = 2048
MAX_PARTS = 2048  # of one message

Role = Literal["system", "developer", "user", "assistant"]


class TextPart(Body):
    """A part of what was said."""

    type: Literal["text"]
    text: Text


class Message(Body):
    """One turn of a conversation. An answer's message can be sent back as it came."""

    role: Role = Field(description="developer is another word for system.")
    content: Text | Annotated[list[TextPart], Field(min_length=1, max_length=MAX_PARTS, fail_fast=True)] = Field(
        description="A text, or parts of type text, which are put together with nothing between them."
    )
    name: Annotated[Any, OnlyAt()] = None
    refusal: Annotated[Any, OnlyAt()] = None
    annotations: Annotated[Any, OnlyAt([])] = None
    audio: Annotated[Any, OnlyAt()] = None
    tool_calls: Annotated[Any, OnlyAt([])] = None
    function_call: Annotated[Any, OnlyAt()] = None

    @field_validator("content", mode="before")
    @classmethod
    def _of_text_alone(cls, content: Any) -> Any:
        parts = content if isinstance(content, list) else []
        if len(parts) > MAX_PARTS:
            raise ValueError(f"content may have at most {MAX_PARTS} parts, and here it has {len(parts)}")
        if any(isinstance(part, dict) and part.get("type") != "text" for part in parts):
            raise ValueError("content may be a text or a list of parts of type text; other parts are not offered here")
        return content

    @property
    def text(self) -> str:
        """All of what was said."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(Wish):
    """A conversation whose next turn is the answer, in the base model's voice or in the caller's own."""

    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)
    max_completion_tokens: int | None = Field(
        default=None, ge=1, description="At most so many new tokens, and no more than fit; as many as fit if not given."
    )
    max_tokens: int | None = Field(default=None, ge=1, description="An older name of max_completion_tokens.")
    logprobs: bool | None = Field(
        default=None, description="How likely each token was. Refused where it is switched off."
    )
    top_logprobs: int | None = Field(
        default=None, ge=0, le=MAX_LOGPROBS, description="And so many of the likeliest tokens; with logprobs: true."
    )
    tools: Annotated[Any, OnlyAt([])] = None
    tool_choice: Annotated[Any, OnlyAt("none", "auto")] = None
    parallel_tool_calls: Annotated[Any, OnlyAt(True, False)] = None
    functions: Annotated[Any, OnlyAt([])] = None
    function_call: Annotated[Any, OnlyAt("none", "auto")] = None
    response_format: Annotated[Any, OnlyAt({"type": "text"})] = None
    modalities: Annotated[Any, OnlyAt(["text"])] = None
    audio: Annotated[Any, OnlyAt()] = None
    prediction: Annotated[Any, OnlyAt()] = None
    web_search_options: Annotated[Any, OnlyAt()] = None
    store: Annotated[Any, OnlyAt(False)] = None
    metadata: Annotated[Any, OnlyAt({})] = None
    reasoning_effort: Annotated[Any, OnlyAt("none")] = None
    service_tier: Annotated[Any, OnlyAt("auto", "default")] = None

    @field_validator("max_tokens")
    @classmethod
    def _one_ceiling(cls, ceiling: int | None, info: ValidationInfo) -> int | None:
        if ceiling is not None and info.data.get("max_completion_tokens") not in (None, ceiling):
            raise at_odds("this and max_completion_tokens say different things; send one of them")
        return ceiling

    @field_validator("top_logprobs")
    @classmethod
    def _beside_logprobs(cls, count: int | None, info: ValidationInfo) -> int | None:
        if count and not info.data.get("logprobs"):
            raise at_odds("goes with logprobs: true only")
        return count

    @property
    def num_logprobs(self) -> int | None:
        """So many of the likeliest tokens; None: nothing of that kind."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def ceiling(self) -> int | None:
        """At most so many new tokens; None: as many as fit."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def conversation(self) -> list[tuple[str, str]]:
        """Role and text of each turn."""
        return [("system" if said.role == "developer" else said.role, said.text) for said in self.messages]


class AnswerMessage(Out):
    """What is answered."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(Out):
    """One answer to the conversation."""

    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: Literal["stop", "length"] | None


class ChatCompletion(Answered):
    """A whole answer. `idiolect` is null for the base model."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[ChatChoice]


class Delta(Out):
    """What is new: the role first, then text, nothing at last."""

    role: Literal["assistant"] | None = Field(default=None, exclude_if=lambda role: role is None)
    content: str | None = Field(default=None, exclude_if=lambda content: content is None)


class ChunkChoice(Out):
    """A piece of one answer to the conversation."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None = None
    finish_reason: Literal["stop", "length"] | None = None


class ChatCompletionChunk(Answered):
    """One event of a streamed answer. `idiolect` is null for the base model."""

    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: list[ChunkChoice]
