"""What is in an export, file by file: version 1 of a format that others may read, and that this platform reads back.

`python -m storage.export_format` prints its JSON Schema, which is docs/export-1.schema.json and goes into every export.
Times are ISO 8601 in UTC. Any change of a field makes a new version. Knows no table.
"""

import json
import sys
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

FORMAT = "idiolect-export"
VERSION = 1
MANIFEST, SCHEMA, ACCOUNT = "manifest.json", "schema.json", "account.json"
VOICE, SAMPLES = "voice.json", "samples.jsonl"
DESCRIPTION = (
    f"{MANIFEST} is a Manifest and {ACCOUNT} an Account. Each voice has a folder voices/<id>: there {VOICE} is a "
    f"Voice, each line of {SAMPLES} a Sample, and version-<n>.safetensors holds the prefix of version n: the keys and "
    "values of its virtual tokens for each layer of the base model that it names, which alone can use it. "
    "files/<id>.jsonl are training files as they were uploaded."
)


class Part(BaseModel):
    """A stretch of a sample as it came in. kind: empty for the person's own words, else what it looks to be."""

    model_config = ConfigDict(extra="forbid")
    kind: str
    text: str
    out: bool


class Notes(BaseModel):
    """What was noticed about a sample when it came in."""

    model_config = ConfigDict(extra="forbid")
    source: str | None = None
    parts: list[Part] = []
    sender: str | None = None
    language: str | None = None
    expected: str | None = None
    expected_by: str | None = None


class Sample(BaseModel):
    """One text the person wrote, in the order they were given. prompt_made: the base model wrote the prompt; without
    one: none is to be made. waiting: it was not looked at yet."""

    model_config = ConfigDict(extra="forbid")
    id: str
    text: str
    title: str | None = None
    prompt: str | None = None
    prompt_made: bool = False
    written_on: str | None = None
    included: bool = True
    waiting: bool = False
    created_at: str
    notes: Notes | None = None


class Event(BaseModel):
    """What happened in a run."""

    model_config = ConfigDict(extra="forbid")
    at: str
    level: str
    type: str
    message: str
    data: dict[str, Any]


class Run(BaseModel):
    """One training of the voice, the oldest first."""

    model_config = ConfigDict(extra="forbid")
    id: str
    state: str
    published: bool | None
    sample_ids: list[str]
    continues_version: int | None
    seed: int
    step: int
    max_steps: int
    figures: dict[str, Any]
    job: dict[str, Any] | None = Field(description="what was asked for at /v1/fine_tuning/jobs")
    error_code: str | None
    error_message: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    events: list[Event]


class Version(BaseModel):
    """One published prefix of the voice; its bytes are in version-<version>.safetensors."""

    model_config = ConfigDict(extra="forbid")
    version: int
    run_id: str
    base_fingerprint: str
    num_virtual_tokens: int
    num_bytes: int
    figures: dict[str, Any]
    report: dict[str, Any] | None
    trained_sample_ids: list[str] | None
    created_at: str


class Vote(BaseModel):
    """One blind choice between a version and another, or the base model (null)."""

    model_config = ConfigDict(extra="forbid")
    version: int
    against: int | None
    version_first: bool
    strength: float
    choice: str | None
    created_at: str
    chosen_at: str | None


class Voice(BaseModel):
    """A voice without its samples."""

    model_config = ConfigDict(extra="forbid")
    id: str
    name: str
    active_version: int | None
    created_at: str
    versions: list[Version]
    runs: list[Run]
    votes: list[Vote]


class Key(BaseModel):
    """An API key without its secret."""

    model_config = ConfigDict(extra="forbid")
    name: str
    hint: str
    scopes: list[str]
    created_at: str
    last_used_at: str | None
    revoked_at: str | None


class Use(BaseModel):
    """What was asked for with one key, on one day, of one model."""

    model_config = ConfigDict(extra="forbid")
    day: str
    key: str
    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int


class File(BaseModel):
    """A training file; as it was given in files/<id>.jsonl."""

    model_config = ConfigDict(extra="forbid")
    id: str
    filename: str
    num_bytes: int
    num_samples: int
    created_at: str


class Notices(BaseModel):
    """By which ways the person is told that a training has ended; the webhook's secret is not in it."""

    model_config = ConfigDict(extra="forbid")
    by_mail: bool
    webhook_url: str | None


class Account(BaseModel):
    """The account itself."""

    model_config = ConfigDict(extra="forbid")
    id: str
    email: str
    role: str
    created_at: str
    has_password: bool
    sign_in_services: list[str]
    notices: Notices
    keys: list[Key]
    usage: list[Use]
    files: list[File]


class Manifest(BaseModel):
    """What this is."""

    model_config = ConfigDict(extra="forbid")
    format: Literal["idiolect-export"]
    version: Literal[1]
    made_at: str


def schema() -> dict[str, Any]:
    """The JSON Schema of all files."""
    kinds = [(kind, "validation") for kind in (Manifest, Account, Voice, Sample)]
    _, made = models_json_schema(kinds, title=f"Idiolect export, version {VERSION}", description=DESCRIPTION)  # type: ignore[arg-type]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


if __name__ == "__main__":
    json.dump(schema(), sys.stdout, indent=2, sort_keys=True)
    print()
