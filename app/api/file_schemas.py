"""What /v1/files takes and gives, in OpenAI's shapes."""

from typing import Literal

from apiflask.fields import UploadFile
from pydantic import ConfigDict, Field

from app.api.schemas import Id, Out, Query


class NewFile(Query):
    """A training file to keep, as multipart/form-data: everything but the file arrives as text."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    file: UploadFile = Field(
        description='JSON Lines in UTF-8, at most 8,000,000 bytes; each line {"text": …}, {"prompt": …, "completion": '
        '…} or {"messages": [{"role": …, "content": …}, …]}, where each answer of the assistant is a sample and the '
        "user's turn before it its prompt."
    )
    purpose: Literal["fine-tune"]


class FileQuery(Query):
    """Which part of the list of files, in which order."""

    after: Id | None = None
    limit: int = Field(default=10_000, ge=1, le=10_000)
    order: Literal["asc", "desc"] = "desc"
    purpose: Id | None = None


class File(Out):
    """An uploaded training file. It stays until it is deleted."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: None = None
    filename: str
    purpose: Literal["fine-tune"] = "fine-tune"
    status: Literal["processed"] = "processed"
    status_details: None = None


class FileList(Out):
    """Some of the caller's files."""

    object: Literal["list"] = "list"
    data: list[File]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileDeleted(Out):
    """A file is gone; the samples made of it stay with their voice."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
