"""What requests for text have in common, and what every answer says beside the text: the fields of /v1/completions and
/v1/chat/completions alike, as OpenAI's clients send and read them."""

from abc import abstractmethod
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

from app.api.schemas import Body, Id, Out

MAX_ANSWERS = 8
MAX_STOPS = 4
MAX_STOP_CHARS = 200
MAX_STRENGTH = 2
MAX_TOP_K = 1000

StopString = Annotated[str, StringConstraints(min_length=1, max_length=MAX_STOP_CHARS)]


def at_odds(message: str) -> PydanticCustomError:
    """Of two fields, each of them good, that contradict each other."""
    return PydanticCustomError("conflicting_parameters", "{message}", {"message": message})


class OnlyAt:
    """Marks a field that OpenAI's API has and this one has not: it is taken at the values that change nothing (null is
    always one), and refused by its name otherwise."""

    def __init__(self, *harmless: Any) -> None:
        self._harmless = (None, *harmless)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"enum": list(self._harmless)}

    def _checked(self, value: Any) -> Any:
        if not any(isinstance(value, bool) == isinstance(one, bool) and value == one for one in self._harmless):
            raise ValueError("this is not offered here; leave it out")
        return value


class StreamOptions(Body):
    """What a stream tells beside the text."""

    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class Wish(Body):
    """Whose voice, how tokens are chosen, where the text ends, and in which form it comes."""

    model: Id = Field(
        description="The base model's id or a voice's id; GET /v1/models lists them. `voice-…@2` is version 2 of a "
        "voice, whichever is in use."
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = Field(default=None, description="With stream: true only.")
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="1 if not given; 0 always takes the likeliest token."
    )
    top_p: float | None = Field(default=None, gt=0, le=1, description="1 if not given.")
    top_k: int | None = Field(
        default=None, ge=0, le=MAX_TOP_K, description="0, if not given: no limit. Not in OpenAI's API."
    )
    voice_strength: float | None = Field(
        default=None,
        ge=0,
        le=MAX_STRENGTH,
        description="How far the voice is followed from the base model (0) to itself (1, if not given) and beyond, on "
        "the logarithms of probabilities. A strength between or beyond counts as two generations. Not in OpenAI's API.",
    )
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stop: StopString | Annotated[list[StopString], Field(max_length=MAX_STOPS, fail_fast=True)] | None = None
    user: str | None = Field(default=None, description="Accepted and not used.")
    n: int | None = Field(
        default=None,
        ge=1,
        le=MAX_ANSWERS,
        description="So many independent answers, each of which counts as a generation of its own. With a seed, the "
        "first answer is that of the seed itself, and each further one that of the next number.",
    )
    logit_bias: Annotated[Any, OnlyAt({})] = None
    presence_penalty: Annotated[Any, OnlyAt(0)] = None
    frequency_penalty: Annotated[Any, OnlyAt(0)] = None

    @field_validator("stream_options")
    @classmethod
    def _of_a_stream(cls, options: StreamOptions | None, info: ValidationInfo) -> StreamOptions | None:
        if options is not None and not info.data.get("stream"):
            raise at_odds("goes with stream: true only")
        return options

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings, none or more."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def num_answers(self) -> int:
        """How many independent answers."""
        return self.n or 1

    @property
    def strength(self) -> float:
        """How far the voice is followed."""
        return 1.0 if self.voice_strength is None else self.voice_strength

    @property
    @abstractmethod
    def num_logprobs(self) -> int | None:
        """So many of the likeliest tokens; None: nothing of that kind."""

    @property
    def include_usage(self) -> bool:
        """Whether a stream's last chunk is its usage."""
        return self.stream_options is not None and self.stream_options.include_usage


class Usage(Out):
    """Tokens read and written. A voice's virtual tokens are not counted."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class VoiceUsed(Out):
    """Whose voice was asked for: the answer was made with this version, followed with this strength (0: not at all)."""

    voice: str
    version: int
    strength: float


class Answered(Out):
    """What every answer, and every chunk of one, says beside its text. `idiolect` is null for the base model."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    usage: Usage | None = None
    idiolect: VoiceUsed | None
