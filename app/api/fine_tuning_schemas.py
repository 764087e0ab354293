"""What /v1/fine_tuning/jobs takes and gives, in OpenAI's shapes. What has no meaning here is taken only at the value
that changes nothing."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from app.api.schemas import SOMETHING, Body, Id, Out

MAX_SUFFIX_CHARS = 64
MAX_METADATA = 16


def _only(at: tuple[Any, ...], sentence: str) -> BeforeValidator:
    """Refuse every other value, in a sentence that says why."""

    def look(value: Any) -> Any:
        if not any(value is fine or (type(value) is type(fine) and value == fine) for fine in at):
            raise ValueError(sentence)
        return value

    return BeforeValidator(look)


def _not_too_many(metadata: Any) -> Any:
    """Before each of them is looked at: pydantic counts them afterwards."""
    if isinstance(metadata, dict) and len(metadata) > MAX_METADATA:
        raise ValueError(f"at most {MAX_METADATA} entries, and there are {len(metadata)}")
    return metadata


Auto = Annotated[
    Literal["auto"], _only(("auto",), 'the recipe chooses this from the writing itself; leave it out, or say "auto"')
]
NoValidationFile = Annotated[
    None, _only((None,), "the newest of the writing is held back and judges the voice; leave this out")
]
NoIntegrations = Annotated[
    list[Any] | None,
    _only((None, []), "there are none here; follow the job by its events, and leave this out"),
    WithJsonSchema({"anyOf": [{"type": "array", "maxItems": 0}, {"type": "null"}]}),
]
Supervised = Annotated[
    Literal["supervised"], _only(("supervised",), 'a voice is trained on what its person wrote: say "supervised"')
]
MetadataKey = Annotated[str, StringConstraints(max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MAX_METADATA), BeforeValidator(_not_too_many)]
Suffix = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_SUFFIX_CHARS, pattern=SOMETHING, strip_whitespace=True)
]


class Hyperparameters(Body):
    """Nothing is set by hand: the number of steps follows how much writing there is, and training stops by itself."""

    batch_size: Auto = "auto"
    learning_rate_multiplier: Auto = "auto"
    n_epochs: Auto = "auto"


class SupervisedMethod(Body):
    """As above."""

    hyperparameters: Hyperparameters | None = None


class NewMethod(Body):
    """How to train: there is one way."""

    type: Supervised
    supervised: SupervisedMethod | None = None


class NewJob(Body):
    """A training to ask for with a file. The same job asked for again while it is live is answered with the first."""

    training_file: Id = Field(description="The id of a file from /v1/files.")
    model: Id = Field(
        description="The base model's id, for a new voice; or a voice of yours by id or name, which is given the "
        "file's samples and trained again."
    )
    suffix: Suffix | None = Field(default=None, description="The name of the new voice.")
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1, description="0 if not given.")
    metadata: Metadata | None = Field(default=None, description="Kept with the job, sealed, and shown with it.")
    hyperparameters: Hyperparameters | None = None
    method: NewMethod | None = None
    validation_file: NoValidationFile = None
    integrations: NoIntegrations = None


class Method(Out):
    """How it is trained."""

    type: Literal["supervised"] = "supervised"
    supervised: SupervisedMethod = SupervisedMethod(hyperparameters=Hyperparameters())


class JobError(Out):
    """Why there is no new model."""

    code: str
    message: str
    param: str | None = None


class JobDetails(Out):
    """What OpenAI's shape has no place for."""

    voice: str
    samples_added: int | None = Field(description="Of the file; null: the training was asked for without one.")
    samples_skipped: int | None = Field(description="Those the voice had already.")
    queue_position: int | None = Field(description="How many runs go before it, plus one; null once it started.")


class Job(Out):
    """A training of one of the caller's voices; its id is that of the tuning run."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    estimated_finish: int | None = Field(
        description="Once it runs, by its own pace; while it waits, by the runs ahead of it and what trainings took "
        "lately. null where there is nothing to tell it from."
    )
    status: Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"] = Field(
        description="failed, with the error not_published: it was trained and would not have helped."
    )
    error: JobError | None
    model: str = Field(description="What it was asked to start from.")
    fine_tuned_model: str | None = Field(description="The voice's id, once this job has published a version of it.")
    training_file: str = Field(description="Empty where the training was asked for without a file.")
    validation_file: None = None
    result_files: list[str]
    trained_tokens: int | None = Field(description="Tokens of writing that it learned from.")
    seed: int
    hyperparameters: Hyperparameters = Hyperparameters()
    method: Method = Method()
    integrations: list[Any]
    metadata: dict[str, str] | None
    user_provided_suffix: str | None
    organization_id: str
    idiolect: JobDetails


class JobList(Out):
    """Some of the caller's jobs, newest first."""

    object: Literal["list"] = "list"
    data: list[Job]
    has_more: bool


class JobEvent(Out):
    """Something that happened in a job; `data` of type metrics holds step and losses."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    type: Literal["message", "metrics"]
    message: str
    data: dict[str, Any]


class JobEventList(Out):
    """Some of a job's events, newest first."""

    object: Literal["list"] = "list"
    data: list[JobEvent]
    has_more: bool


class CheckpointMetrics(Out):
    """Losses in bits per character of writing that was not trained on."""

    step: int | None
    train_loss: float | None = None
    train_mean_token_accuracy: float | None = None
    valid_loss: float | None
    valid_mean_token_accuracy: float | None = None
    full_valid_loss: float | None
    full_valid_mean_token_accuracy: float | None = None


class Checkpoint(Out):
    """The version that a job has published."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: CheckpointMetrics


class CheckpointList(Out):
    """The published version of a job; empty before, and where none was."""

    object: Literal["list"] = "list"
    data: list[Checkpoint]
    first_id: str | None
    last_id: str | None
    has_more: bool
