"""/v1/files: training files, one JSON object a line. A file is read whole and kept only if every line can be taken."""

from contextlib import ExitStack
from typing import Any

from apiflask import APIBlueprint
from flask import Response, g, request

from app.api import file_schemas as schemas
from app.api.idempotency import idempotent, keep
from app.api.paging import page_of
from app.api.services import caller, services
from app.config import MULTIPART_BYTES
from storage import uploads
from storage.training_file import MAX_UPLOAD_BYTES

blueprint = APIBlueprint("files", __name__, url_prefix="/v1/files", tag="Files")
CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file as it was given", "content": {"application/jsonl": {"schema": {"type": "string"}}}}
}


@blueprint.before_request
def _admit_a_whole_file() -> None:
    """Files may be larger than other bodies; the gate has let this caller in. Reading one takes memory and time, so few
    are read at once."""
    if request.method == "POST":
        g.upload_seat = ExitStack()
        g.upload_seat.enter_context(services().uploads.one(caller().user_id))
        request.max_content_length = MAX_UPLOAD_BYTES + MULTIPART_BYTES


@blueprint.teardown_request
def _leave_the_seat(_: BaseException | None) -> None:
    if seat := g.pop("upload_seat", None):
        seat.close()


@blueprint.post("")
@blueprint.input(schemas.NewFile, location="form_and_files", arg_name="body", example={"purpose": "fine-tune"})
@blueprint.output(schemas.File)
@idempotent
def create_file(body: schemas.NewFile) -> tuple[schemas.File, int]:
    """Upload a training file."""
    storage, data = services().storage, body.file.read()
    with storage.database.session() as session:
        kept = uploads.add_upload(
            session, storage.keys, user_id=caller().user_id, data=data, filename=body.file.filename or ""
        )
        return keep(session, _shown(kept), 200)


@blueprint.get("")
@blueprint.input(schemas.FileQuery, location="query", arg_name="query")
@blueprint.output(schemas.FileList)
def list_files(query: schemas.FileQuery) -> schemas.FileList:
    """List your training files, newest first."""
    storage = services().storage
    with storage.database.reading() as session:
        found = uploads.list_uploads(session, storage.keys, caller().user_id)
    if query.purpose not in (None, "fine-tune"):
        found = []
    part, has_more = page_of(found if query.order == "desc" else found[::-1], query)
    ids = [file.id for file in part]
    return schemas.FileList(
        data=[_shown(file) for file in part],
        first_id=ids[0] if ids else None,
        last_id=ids[-1] if ids else None,
        has_more=has_more,
    )


@blueprint.get("/<file_id>")
@blueprint.output(schemas.File)
def get_file(file_id: str) -> schemas.File:
    """Look at a training file."""
    storage = services().storage
    with storage.database.reading() as session:
        return _shown(uploads.get_upload(session, storage.keys, caller().user_id, file_id))


@blueprint.get("/<file_id>/content")
@blueprint.doc(responses=CONTENT)
def get_file_content(file_id: str) -> Response:
    """Get a training file back as it was given."""
    storage, user_id = services().storage, caller().user_id
    with ExitStack() as held:
        held.enter_context(services().downloads.one(user_id))
        with storage.database.reading() as session:
            data = uploads.read_upload(session, storage.keys, user_id, file_id)
        headers = {
            "Content-Disposition": f'attachment; filename="{file_id}.jsonl"',
            "X-Content-Type-Options": "nosniff",
        }
        answer = Response(data, mimetype="application/jsonl", headers=headers)
        answer.call_on_close(held.pop_all().close)  # it holds a thread and the file until it is read
        return answer


@blueprint.delete("/<file_id>")
@blueprint.output(schemas.FileDeleted)
def delete_file(file_id: str) -> schemas.FileDeleted:
    """Delete a training file. Samples that a job has made of it stay with their voice."""
    with services().storage.database.session() as session:
        uploads.delete_upload(session, caller().user_id, file_id)
    return schemas.FileDeleted(id=file_id)


def _shown(file: uploads.StoredFile) -> schemas.File:
    return schemas.File(id=file.id, bytes=file.num_bytes, created_at=int(file.created_at), filename=file.filename)
