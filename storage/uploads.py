"""Training files that people upload: kept whole under their owner's data key, read back only for their owner.

What makes a file acceptable is storage.training_file's; this module owns the rows.
"""

from dataclasses import dataclass

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from storage import audit, clock, crypto, quotas
from storage.errors import LimitReached, NotFound
from storage.ids import new_id
from storage.keys import KeyStore
from storage.models import Upload
from storage.text_intake import clean_name
from storage.training_file import read_training_file

MAX_UPLOADS = 20
MAX_FILENAME_CHARS = 200


@dataclass(frozen=True)
class StoredFile:
    """An uploaded file without its content; its name in clear. Hand it to no one but its owner."""

    id: str
    filename: str
    num_bytes: int
    num_samples: int
    created_at: float


def add_upload(session: Session, keys: KeyStore, *, user_id: str, data: bytes, filename: str) -> StoredFile:
    """Keep a training file. Raises InvalidUpload (nothing is kept of it), LimitReached, KeyErased."""
    # All that takes time comes before the first statement, from which SQLite's write lock is held.
    num_samples = len(read_training_file(data))
    key, upload_id = keys.data_key(user_id), new_id("file")
    name = clean_name(filename, MAX_FILENAME_CHARS) or "upload.jsonl"
    upload = Upload(
        id=upload_id,
        user_id=user_id,
        filename_sealed=crypto.seal(key, name.encode(), "upload", user_id, upload_id, "filename"),
        content_sealed=crypto.seal(key, data, "upload", user_id, upload_id, "content"),
        num_bytes=len(data),
        num_samples=num_samples,
        created_at=clock.now(),
    )
    count = session.scalar(select(func.count()).select_from(Upload).where(Upload.user_id == user_id)) or 0
    if count >= MAX_UPLOADS:
        raise LimitReached(f"You have {MAX_UPLOADS} files, which is the most: delete one that you no longer need.")
    quotas.require(session, user_id, "stored_mb", len(data) / quotas.MEGABYTE)
    session.add(upload)
    session.flush()
    audit.record(session, "file.uploaded", actor_id=user_id, subject_id=upload_id, num_bytes=len(data))
    return _opened(key, upload)


def list_uploads(session: Session, keys: KeyStore, user_id: str) -> list[StoredFile]:
    """The person's files, newest first. Raises KeyErased."""
    key = keys.data_key(user_id)
    mine = select(Upload).where(Upload.user_id == user_id).order_by(Upload.created_at.desc(), Upload.id.desc())
    return [_opened(key, upload) for upload in session.scalars(mine)]


def get_upload(session: Session, keys: KeyStore, user_id: str, upload_id: str) -> StoredFile:
    """One file. Raises NotFound, KeyErased."""
    return _opened(keys.data_key(user_id), _row(session, user_id, upload_id))


def read_upload(session: Session, keys: KeyStore, user_id: str, upload_id: str) -> bytes:
    """What is in a file, as it was given. Raises NotFound, KeyErased, IntegrityError."""
    mine = select(Upload.content_sealed).where(Upload.id == upload_id, Upload.user_id == user_id)
    sealed = session.scalar(mine)
    if sealed is None:
        raise NotFound("no such file")
    return crypto.unseal(keys.data_key(user_id), sealed, "upload", user_id, upload_id, "content")


def hold_upload(session: Session, user_id: str, upload_id: str) -> None:
    """Keep a file as it is until this transaction ends; others who would hold it wait. Raises NotFound."""
    if session.scalar(_mine(user_id, upload_id).with_for_update()) is None:
        raise NotFound("no such file")


def delete_upload(session: Session, user_id: str, upload_id: str) -> None:
    """Delete a file. The samples that were made of it stay with their voice. Raises NotFound."""
    mine = delete(Upload).where(Upload.id == upload_id, Upload.user_id == user_id)
    if not session.execute(mine.returning(Upload.id)).all():
        raise NotFound("no such file")
    audit.record(session, "file.deleted", actor_id=user_id, subject_id=upload_id)


def _mine(user_id: str, upload_id: str) -> Select[Upload]:
    return select(Upload).where(Upload.id == upload_id, Upload.user_id == user_id)


def _row(session: Session, user_id: str, upload_id: str) -> Upload:
    row = session.scalar(_mine(user_id, upload_id))
    if row is None:
        raise NotFound("no such file")
    return row


def _opened(key: bytes, row: Upload) -> StoredFile:
    name = crypto.unseal(key, row.filename_sealed, "upload", row.user_id, row.id, "filename").decode()
    return StoredFile(row.id, name, row.num_bytes, row.num_samples, row.created_at)
