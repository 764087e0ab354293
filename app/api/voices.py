"""/v1/voices: the caller's voices and their versions."""

from apiflask import APIBlueprint
from sqlalchemy.orm import Session

from app.api import schemas
from app.api.errors import ApiError
from app.api.idempotency import idempotent, keep
from app.api.paging import page_of
from app.api.services import caller, services
from storage import models, reports, samples, voices

blueprint = APIBlueprint("voices", __name__, url_prefix="/v1/voices", tag="Voices")


@blueprint.get("")
@blueprint.input(schemas.Page, location="query", arg_name="page")
@blueprint.output(schemas.VoiceList)
def list_voices(page: schemas.Page) -> schemas.VoiceList:
    """List your voices."""
    with services().storage.database.reading() as session:
        part, has_more = page_of(voices.list_voices(session, caller().user_id), page)
        return schemas.VoiceList(data=[shown(session, voice) for voice in part], has_more=has_more)


@blueprint.post("")
@blueprint.input(schemas.NewVoice, arg_name="body", example={"name": "Letters"})
@blueprint.output(schemas.Voice, status_code=201)
@idempotent
def create_voice(body: schemas.NewVoice) -> tuple[schemas.Voice, int]:
    """Make a voice."""
    with services().storage.database.session() as session:
        return keep(session, shown(session, voices.create_voice(session, caller().user_id, body.name)), 201)


@blueprint.get("/<voice_id>")
@blueprint.output(schemas.Voice)
def get_voice(voice_id: str) -> schemas.Voice:
    """Look at a voice."""
    with services().storage.database.reading() as session:
        return shown(session, voices.get_voice(session, caller().user_id, voice_id))


@blueprint.patch("/<voice_id>")
@blueprint.input(schemas.VoiceChange, arg_name="body", example={"name": "Letters home"})
@blueprint.output(schemas.Voice)
def change_voice(voice_id: str, body: schemas.VoiceChange) -> schemas.Voice:
    """Rename a voice, choose the version in use, or switch it off (active_version: null)."""
    user_id = caller().user_id
    with services().storage.database.session() as session:
        voices.get_voice(session, user_id, voice_id)
        if "name" in body.model_fields_set:
            voices.rename_voice(session, user_id, voice_id, body.name)
        if "active_version" in body.model_fields_set:
            voices.use_version(session, user_id, voice_id, body.active_version)
        return shown(session, voices.get_voice(session, user_id, voice_id))


@blueprint.delete("/<voice_id>")
@blueprint.output(schemas.Deleted)
def delete_voice(voice_id: str) -> schemas.Deleted:
    """Delete a voice with its samples, runs and versions."""
    voices.delete_voice(services().storage, caller().user_id, voice_id)
    return schemas.Deleted(id=voice_id, object="voice", deleted=True)


@blueprint.get("/<voice_id>/versions")
@blueprint.output(schemas.VersionList)
def list_versions(voice_id: str) -> schemas.VersionList:
    """List the versions of a voice."""
    user_id = caller().user_id
    with services().storage.database.reading() as session:
        voice = voices.get_voice(session, user_id, voice_id)
        found = voices.list_versions(session, user_id, voice_id)
        return schemas.VersionList(data=[_version(voice, version) for version in found], has_more=False)


@blueprint.get("/<voice_id>/versions/<int:version>/report")
@blueprint.output(schemas.VersionReport)
def get_version_report(voice_id: str, version: int) -> schemas.VersionReport:
    """Look at how close a version is to your writing: measured soon after publication, 404 until then."""
    with services().storage.database.reading() as session:
        found = reports.read_report(session, services().storage.keys, caller().user_id, voice_id, version)
    if found is None:
        raise ApiError(404, "This version has no report, or none yet.", code="report_not_found")
    return schemas.VersionReport(voice=voice_id, version=version, report=found)


@blueprint.post("/<voice_id>/versions/<int:version>/use")
@blueprint.output(schemas.Voice)
def use_version(voice_id: str, version: int) -> schemas.Voice:
    """Use this version from now on."""
    user_id = caller().user_id
    with services().storage.database.session() as session:
        voices.use_version(session, user_id, voice_id, version)
        return shown(session, voices.get_voice(session, user_id, voice_id))


def shown(session: Session, voice: models.Voice) -> schemas.Voice:
    """A voice as the API shows it."""
    ready = samples.readiness(session, voice.user_id, voice.id)
    return schemas.Voice(
        id=voice.id,
        name=voice.name,
        created_at=int(voice.created_at),
        active_version=voice.active_version,
        readiness=schemas.Readiness(
            num_samples=ready.num_samples, num_words=ready.num_words, enough=ready.enough, sentence=ready.sentence
        ),
    )


def _version(voice: models.Voice, version: models.PrefixVersion) -> schemas.Version:
    return schemas.Version(
        id=version.id,
        version=version.version,
        active=version.version == voice.active_version,
        run=version.run_id,
        num_virtual_tokens=version.num_virtual_tokens,
        num_bytes=version.num_bytes,
        figures=version.figures,
        usable=version.base_fingerprint == services().base.fingerprint,
        created_at=int(version.created_at),
    )
