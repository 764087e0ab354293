"""The fields of /v1/completions, as OpenAI's clients send and read them."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from app.api.schemas import Body, Id, Out, Text

MAX_STOPS = 4
MAX_STOP_CHARS = 200
MAX_TOP_K = 1000

StopString = Annotated[str, StringConstraints(min_length=1, max_length=MAX_STOP_CHARS)]
TokenIds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]

# What OpenAI's API has and this one has not yet: taken at the value that changes nothing, refused otherwise.
_ONLY_AT: dict[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "best_of": (None, 1),
    "echo": (None, False),
    "logprobs": (None,),
    "suffix": (None,),
    "logit_bias": (None, {}),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
}


class StreamOptions(Body):
    """What a stream tells beside the text."""

    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class CompletionRequest(Body):
    """A prompt to go on from, in the base model's voice or in the caller's own."""

    model: Id = Field(description="The base model's id or a voice's id; GET /v1/models lists them.")
    prompt: Text | Annotated[list[Text | TokenIds], Field(min_length=1)] | TokenIds = Field(
        default="", description="A text, or token ids, or a list of exactly one of these."
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, description="At most so many new tokens; 16 if not given.")
    temperature: float | None = Field(default=None, ge=0, le=2, description="0 always takes the likeliest token.")
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0, le=MAX_TOP_K, description="0: no limit. Not in OpenAI's API.")
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stop: StopString | Annotated[list[StopString], Field(max_length=MAX_STOPS)] | None = None
    user: str | None = Field(default=None, description="Accepted and not used.")
    n: int | None = None
    best_of: int | None = None
    echo: bool | None = None
    logprobs: int | None = None
    suffix: str | None = None
    logit_bias: dict[str, float] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None

    @model_validator(mode="after")
    def _refuse_what_would_be_ignored(self) -> Self:
        for name, harmless in _ONLY_AT.items():
            if getattr(self, name) not in harmless:
                raise ValueError(f"{name} is not supported; leave it out")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options goes with stream: true only")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings, none or more."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class Choice(Out):
    """One continuation of the prompt, or a piece of one."""

    index: int = 0
    text: str
    logprobs: None = None
    finish_reason: Literal["stop", "length"] | None


class Usage(Out):
    """Tokens read and written. A voice's virtual tokens are not counted."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class VoiceUsed(Out):
    """Whose voice spoke: the answer was made with this version."""

    voice: str
    version: int


class Completion(Out):
    """A whole answer, or one chunk of a stream. `idiolect` is null for the base model."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[Choice]
    usage: Usage | None = None
    idiolect: VoiceUsed | None
