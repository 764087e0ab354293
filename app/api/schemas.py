"""What the API takes and gives, field by field: the OpenAPI document is made from these. Strict: no value is coerced,
and a field nobody knows is refused rather than ignored. Times are whole UTC seconds since the epoch."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from storage.text_intake import MAX_CHARS, MAX_PROMPT_CHARS, MAX_TITLE_CHARS, MIN_CHARS
from storage.voices import MAX_NAME_CHARS

MAX_TEXT_CHARS = 1 << 22
_NO_NUL = r"^[^\x00]*$"
SOMETHING = r"^[^\x00]*[^\x00\s][^\x00]*$"  # not only blanks

# A length limit also makes pydantic refuse what JSON can spell and UTF-8 can't: half of a surrogate pair.
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_NO_NUL)]

Prompt = Annotated[str, StringConstraints(max_length=MAX_PROMPT_CHARS)]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_NAME_CHARS, pattern=SOMETHING, strip_whitespace=True)
]
IsoDate = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
    WithJsonSchema({"type": "string", "format": "date"}),
]


class Body(BaseModel):
    """A JSON request body."""

    model_config = ConfigDict(strict=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _one_unknown_field_is_enough(cls, sent: Any) -> Any:
        """Only the first is told, and a fault for each of thousands would take seconds."""
        known = cls.model_fields
        if not isinstance(sent, dict) or len(sent) <= len(known):
            return sent
        first = next(name for name in sent if name not in known)
        return {name: value for name, value in sent.items() if name in known or name == first}


class Query(BaseModel):
    """A query string: everything arrives as text, so numbers are read from it."""

    model_config = ConfigDict(extra="forbid")


class Out(BaseModel):
    """A JSON answer."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Out):
    """What went wrong, for people (message) and for programs (code)."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(Out):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class Page(Query):
    """Which part of a list: what comes after this id, and how many."""

    after: Id | None = None
    limit: int = Field(default=20, ge=1, le=100)


class Health(Out):
    """Is the API role up, and how busy is it."""

    status: Literal["ok"]
    model: str
    running: int = Field(description="Rows in use: one for each answer, two where a voice has a strength of its own.")
    waiting: int = Field(description="Rows that answers wait for.")


class Deleted(Out):
    """A thing is gone."""

    id: str
    object: str
    deleted: Literal[True]


class Model(Out):
    """Something that can be named as `model`: the base model, or one of the caller's voices."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    name: str = Field(description="What people call it.")
    version: int | None = Field(description="The voice's version in use; null for the base model and untrained voices.")


class ModelList(Out):
    """Every model the caller may name."""

    object: Literal["list"] = "list"
    data: list[Model]


class Readiness(Out):
    """Is there enough writing to train on?"""

    num_samples: int
    num_words: int
    enough: bool
    sentence: str


class Voice(Out):
    """A voice: what is trained on a person's samples. Its id is also its model id."""

    id: str
    object: Literal["voice"] = "voice"
    name: str
    created_at: int
    active_version: int | None = Field(description="The version in use; null while untrained or switched off.")
    readiness: Readiness


class VoiceList(Out):
    """Some of the caller's voices."""

    object: Literal["list"] = "list"
    data: list[Voice]
    has_more: bool


class NewVoice(Body):
    """A voice to make."""

    name: Name


def _left_out(value: Any) -> Any:
    """Of a field that is looked at only where it was sent: the document shows no default."""
    return Field(default=value, json_schema_extra=_without_default)


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


class VoiceChange(Body):
    """What to change of a voice: its name, or the version in use (null switches the voice off)."""

    name: Name = _left_out("")
    active_version: int | None = Field(default=None, ge=1)


class NewSample(Body):
    """One text the person wrote. `prompt`: what it answered, where there was such a thing. Without one, an instruct
    model makes one when the voice is trained."""

    text: Annotated[Text, Field(json_schema_extra={"minLength": MIN_CHARS, "maxLength": MAX_CHARS})]
    title: Annotated[str, StringConstraints(max_length=MAX_TITLE_CHARS)] | None = None
    prompt: Prompt | None = None
    written_on: IsoDate | None = Field(default=None, description="ISO date; the newest texts judge the voice.")


class SampleChange(Body):
    """What to change of a sample: whether training uses it, or what it answers (null clears that)."""

    included: bool = _left_out(False)
    prompt: Prompt | None = Field(default=None, description="Once set or cleared, none is made in its place.")


class SampleSummary(Out):
    """A writing sample without its text."""

    id: str
    object: Literal["sample"] = "sample"
    title: str | None
    written_on: str | None
    prompt: str | None = Field(description="What the text answers.")
    prompt_made: bool = Field(
        description="True: the base model wrote the prompt from the text; change it if it is off."
    )
    included: bool
    num_words: int
    num_chars: int
    created_at: int


class Sample(SampleSummary):
    """A writing sample."""

    text: str


class SampleList(Out):
    """Some of a voice's samples, in the order they were given."""

    object: Literal["list"] = "list"
    data: list[SampleSummary]
    has_more: bool


class Version(Out):
    """One published prefix of a voice, and how it did on writing it was not trained on."""

    id: str
    object: Literal["voice.version"] = "voice.version"
    version: int
    active: bool
    run: str
    num_virtual_tokens: int
    num_bytes: int
    figures: dict[str, Any] = Field(description="Bits per character with and without the voice, tokens, seconds …")
    usable: bool = Field(description="False: trained for another base model than the one now served.")
    created_at: int


class VersionList(Out):
    """Every version of a voice."""

    object: Literal["list"] = "list"
    data: list[Version]
    has_more: bool


class VersionReport(Out):
    """How close a version is to its person's writing, beyond the loss that decided on it: numbers, and words of a fixed
    list. It is sealed with the person's key."""

    object: Literal["voice.version.report"] = "voice.version.report"
    voice: str
    version: int
    report: dict[str, Any] = Field(
        description="`in_context_bits_per_char`: of the base model with samples in the prompt, on the writing that the "
        "version's figures are of. `neutral_rise_pct`: percent by which the loss on a neutral text is higher with the "
        "voice; 0: nothing was lost, below 0: it is lower. `style`: of the person's `samples`, and of what `base` "
        "model and `voice` write: `num_words` counted over, `function_words_per_100` and `punctuation_per_100` "
        "(occurrences in 100 words of each of some common English words and marks), `sentence_words` (words a "
        "sentence), `word_chars` (letters a word), `openings_pct` (percent of sentences that begin with this word); "
        "null in place of a style where the text is not English or too short. `style_distance`: from the samples' "
        "style to that of `base` and `voice`, 0 for the same, null where a style is. `longest_overlap`: lengths of the "
        "longest runs that the voice repeats from the samples, in `words` and in `chars`."
    )


class NewRun(Body):
    """A training to ask for. The same samples, seed and version gone on from give the same voice."""

    seed: int = Field(default=0, ge=0, le=2**31 - 1)


class RunError(Out):
    """Why a run failed."""

    code: str
    message: str


class TuningRun(Out):
    """One training of a voice."""

    id: str
    object: Literal["tuning_run"] = "tuning_run"
    voice: str
    state: Literal["queued", "leased", "running", "paused", "committing", "succeeded", "failed", "cancelled"]
    step: int
    max_steps: int
    seed: int
    continues_version: int | None = Field(
        description="The version of the voice that training goes on from, or that it only has to beat where that has "
        "another length or there is too little text to gain by going on; null: it starts anew, or has not begun. The "
        "run's events say which, and why."
    )
    cancel_requested: bool
    pause_requested: bool = Field(description="It pauses within a few steps; once it has, its state is paused.")
    created_at: int
    started_at: int | None
    finished_at: int | None
    published: bool | None = Field(
        description="Did it beat the base model and what it started from, and become a version? null until it ends."
    )
    figures: dict[str, Any] = Field(description="Bits per character with and without the voice, tokens, seconds …")
    error: RunError | None
    queue_position: int | None = Field(description="How many runs go before it, plus one; null once it started.")


class TuningRunList(Out):
    """Some of a voice's runs, newest first."""

    object: Literal["list"] = "list"
    data: list[TuningRun]
    has_more: bool


class EventQuery(Query):
    """Which events: those after this id. With stream=true they come as they happen, as server-sent events, and after
    that of the header Last-Event-ID where it is the later one."""

    after: int = Field(default=0, ge=0, le=2**53)
    limit: int = Field(default=100, ge=1, le=1000)
    stream: bool = False


class TuningEvent(Out):
    """Something that happened in a run; `data` of type metrics holds step and losses."""

    id: str
    object: Literal["tuning_run.event"] = "tuning_run.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    type: Literal["message", "metrics"]
    message: str
    data: dict[str, Any]


class TuningEventList(Out):
    """Some of a run's events, oldest first."""

    object: Literal["list"] = "list"
    data: list[TuningEvent]
    has_more: bool


class UsageQuery(Query):
    """How many days, today among them, and which part of their list."""

    days: int = Field(default=30, ge=1, le=400)
    after: Annotated[str, StringConstraints(min_length=1, max_length=600, pattern=_NO_NUL)] | None = None
    limit: int = Field(default=100, ge=1, le=1000)


class Usage(Out):
    """What was used on one day, with one key, of one model. Days are in UTC; a request counts on the day it ends."""

    id: str
    object: Literal["usage"] = "usage"
    date: str
    key: str | None = Field(description="null: the writing page, signed in.")
    model: str | None = Field(description="null: requests that asked for no text, or got none.")
    requests: int
    prompt_tokens: int
    completion_tokens: int


class UsageList(Out):
    """Some of what was used, the newest day first."""

    object: Literal["list"] = "list"
    data: list[Usage]
    has_more: bool
