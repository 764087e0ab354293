"""What a person gave and what was made of it, in the form of storage.export_format: one file after the other, so that
no more than one voice's text is in memory. Keys come by name, without their secrets; nothing of anybody else is
touched. Sessions, deliveries, quotas and the audit trail stay outside; the page that offers the export says so.

Each part is read in a transaction of its own: what is deleted meanwhile is not in it.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import (
    api_keys,
    clock,
    export_format,
    fine_tuning,
    notices,
    prefixes,
    reports,
    samples,
    uploads,
    usage,
    users,
    voices,
)
from storage.errors import NotFound
from storage.export_format import ACCOUNT, FORMAT, MANIFEST, SAMPLES, SCHEMA, VERSION, VOICE
from storage.models import BlindTrial, Identity, PrefixVersion, TuningEvent, TuningRun, WritingSample
from storage.remarks import Remarks
from storage.store import Storage

Entry = tuple[str, bytes]  # a file's path and content


def entries(storage: Storage, user_id: str) -> Iterator[Entry]:
    """Every file of the export, small ones first. Raises NotFound, KeyErased, IntegrityError."""
    made_at = iso(clock.now())
    yield MANIFEST, _json(export_format.Manifest(format=FORMAT, version=VERSION, made_at=made_at))
    yield SCHEMA, json.dumps(export_format.schema(), indent=2, sort_keys=True).encode()
    account = _account(storage, user_id)
    yield ACCOUNT, _json(account)
    with storage.database.reading() as session:
        voice_ids = [voice.id for voice in voices.list_voices(session, user_id)]
    for voice_id in voice_ids:
        try:
            yield from _voice(storage, user_id, voice_id)
        except NotFound:  # deleted since
            continue
    for file in account.files:
        try:
            with storage.database.reading() as session:
                content = uploads.read_upload(session, storage.keys, user_id, file.id)
        except NotFound:
            continue
        yield f"files/{file.id}.jsonl", content


def iso(at: float) -> str:
    """Seconds since the epoch as ISO 8601."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _iso_if(at: float | None) -> str | None:
    return None if at is None else iso(at)


def _json(made: BaseModel) -> bytes:
    return made.model_dump_json(indent=2).encode()


def _account(storage: Storage, user_id: str) -> export_format.Account:
    with storage.database.reading() as session:
        user = users.get_user(session, user_id)
        wanted = notices.read(session, storage.keys, user_id)
        issuers = session.scalars(select(Identity.issuer).where(Identity.user_id == user_id))
        return export_format.Account(
            id=user.id,
            email=user.email,
            role=user.role,
            created_at=iso(user.created_at),
            has_password=bool(user.password_hash),
            sign_in_services=sorted(issuers),
            notices=export_format.Notices(
                by_mail=wanted.by_mail, webhook_url=wanted.webhook.url if wanted.webhook else None
            ),
            keys=_keys(session, user_id),
            usage=_usage(session, user_id),
            files=_files(storage, session, user_id),
        )


def _keys(session: Session, user_id: str) -> list[export_format.Key]:
    return [
        export_format.Key(
            name=key.name,
            hint=key.hint,
            scopes=list(api_keys.scopes_of(key)),
            created_at=iso(key.created_at),
            last_used_at=_iso_if(key.last_used_at),
            revoked_at=_iso_if(key.revoked_at),
        )
        for key in api_keys.list_keys(session, user_id)
    ]


def _usage(session: Session, user_id: str) -> list[export_format.Use]:
    names = {key.id: key.name for key in api_keys.list_keys(session, user_id)}
    return [
        export_format.Use(
            day=row.day,
            key=names.get(row.key_id, row.key_id),
            model=row.model,
            requests=row.requests,
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
        )
        for row in usage.list_usage(session, user_id, days=usage.KEPT_DAYS)
    ]


def _files(storage: Storage, session: Session, user_id: str) -> list[export_format.File]:
    return [
        export_format.File(
            id=file.id,
            filename=file.filename,
            num_bytes=file.num_bytes,
            num_samples=file.num_samples,
            created_at=iso(file.created_at),
        )
        for file in uploads.list_uploads(session, storage.keys, user_id)
    ]


def _voice(storage: Storage, user_id: str, voice_id: str) -> Iterator[Entry]:
    folder = f"voices/{voice_id}"
    with storage.database.reading() as session:
        voice = voices.get_voice(session, user_id, voice_id)
        versions = voices.list_versions(session, user_id, voice_id)[::-1]
        made = export_format.Voice(
            id=voice.id,
            name=voice.name,
            active_version=voice.active_version,
            created_at=iso(voice.created_at),
            versions=[_version(storage, session, version) for version in versions],
            runs=_runs(storage, session, user_id, voice_id),
            votes=_votes(session, user_id, voice_id),
        )
        lines = _samples(storage, session, user_id, voice_id)
    yield f"{folder}/{VOICE}", _json(made)
    yield f"{folder}/{SAMPLES}", b"".join(line.model_dump_json().encode() + b"\n" for line in lines)
    for version in versions:
        address = prefixes.PrefixAddress(user_id, voice_id, version.version, version.base_fingerprint)
        yield f"{folder}/version-{version.version}.safetensors", prefixes.read_stored(storage, address)


def _version(storage: Storage, session: Session, version: PrefixVersion) -> export_format.Version:
    return export_format.Version(
        version=version.version,
        run_id=version.run_id,
        base_fingerprint=version.base_fingerprint,
        num_virtual_tokens=version.num_virtual_tokens,
        num_bytes=version.num_bytes,
        figures=version.figures,
        report=reports.read_report(session, storage.keys, version.user_id, version.voice_id, version.version),
        trained_sample_ids=version.trained_sample_ids,
        created_at=iso(version.created_at),
    )


def _runs(storage: Storage, session: Session, user_id: str, voice_id: str) -> list[export_format.Run]:
    mine = select(TuningRun).where(TuningRun.user_id == user_id, TuningRun.voice_id == voice_id)
    return [
        export_format.Run(
            id=run.id,
            state=run.state,
            published=run.published,
            sample_ids=run.sample_ids,
            continues_version=run.continues_version,
            seed=run.seed,
            step=run.step,
            max_steps=run.max_steps,
            figures=run.figures,
            job=asdict(job) if (job := fine_tuning.read_job(storage.keys, run)) else None,
            error_code=run.error_code,
            error_message=run.error_message,
            created_at=iso(run.created_at),
            started_at=_iso_if(run.started_at),
            finished_at=_iso_if(run.finished_at),
            events=_events(session, run.id),
        )
        for run in session.scalars(mine.order_by(TuningRun.created_at, TuningRun.id))
    ]


def _events(session: Session, run_id: str) -> list[export_format.Event]:
    rows = session.scalars(select(TuningEvent).where(TuningEvent.run_id == run_id).order_by(TuningEvent.id))
    return [
        export_format.Event(at=iso(row.at), level=row.level, type=row.type, message=row.message, data=row.data)
        for row in rows
    ]


def _votes(session: Session, user_id: str, voice_id: str) -> list[export_format.Vote]:
    mine = select(BlindTrial).where(BlindTrial.user_id == user_id, BlindTrial.voice_id == voice_id)
    return [
        export_format.Vote(
            version=trial.version,
            against=trial.against,
            version_first=trial.version_first,
            strength=trial.strength,
            choice=trial.choice,
            created_at=iso(trial.created_at),
            chosen_at=_iso_if(trial.chosen_at),
        )
        for trial in session.scalars(mine.order_by(BlindTrial.created_at, BlindTrial.id))
    ]


def _samples(storage: Storage, session: Session, user_id: str, voice_id: str) -> list[export_format.Sample]:
    mine = select(WritingSample.id).where(WritingSample.voice_id == voice_id, WritingSample.prompt_made)
    settled = set(session.scalars(mine))  # also those for which none was made and none is to be
    return [
        export_format.Sample(
            id=sample.id,
            text=sample.text,
            title=sample.title,
            prompt=sample.prompt,
            prompt_made=sample.id in settled,
            written_on=sample.written_on,
            included=sample.included,
            waiting=sample.waiting,
            created_at=iso(sample.created_at),
            notes=_notes(sample.remarks),
        )
        for sample in samples.list_samples(session, storage.keys, user_id, voice_id)
    ]


def _notes(remarks: Remarks) -> export_format.Notes | None:
    """What it repeats is left out: it is named by a mac that means nothing under another key."""
    if remarks == Remarks():
        return None
    kept = {name: value for name, value in asdict(remarks).items() if name in export_format.Notes.model_fields}
    return export_format.Notes.model_validate(kept)
