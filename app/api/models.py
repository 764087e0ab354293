"""/v1/models: what the caller may name as `model` to get text: the base model and their own voices that speak."""

from apiflask import APIBlueprint

from app.api import schemas
from app.api.errors import WHICH_MODELS, missing
from app.api.services import caller, services
from app.api.speakers import voice_and_version
from storage import base_models, models, voices
from storage.errors import NotFound

blueprint = APIBlueprint("models", __name__, url_prefix="/v1/models", tag="Models")
OWNER = "idiolect"


@blueprint.get("")
@blueprint.output(schemas.ModelList)
def list_models() -> schemas.ModelList:
    """List the base model and your voices that have a version in use; /v1/voices lists all."""
    with services().storage.database.reading() as session:
        own = voices.list_voices(session, caller().user_id)
    speaking = [voice for voice in own if voice.active_version is not None]
    return schemas.ModelList(data=[_base(), *map(_voice, speaking)])


@blueprint.get("/<path:model_id>")
@blueprint.output(schemas.Model)
def get_model(model_id: str) -> schemas.Model:
    """Look at the base model, one of your voices, or a version of one: `voice-…@2`."""
    if model_id == services().base.name:
        return _base()
    try:
        voice_id, version = voice_and_version(model_id)
        with services().storage.database.reading() as session:
            voice = _voice(voices.get_voice(session, caller().user_id, voice_id))
            if version is None:
                return voice
            named = voices.get_version(session, caller().user_id, voice_id, version)
        return voice.model_copy(update={"id": model_id, "created": int(named.created_at), "version": named.version})
    except NotFound as unknown:
        raise missing("model", param="model", hint=WHICH_MODELS) from unknown


def _base() -> schemas.Model:
    base = services().base
    with services().storage.database.reading() as session:
        registered = base_models.current(session)
    created = int(registered.registered_at) if registered is not None else 0
    return schemas.Model(id=base.name, created=created, owned_by=OWNER, name=base.name, version=None)


def _voice(voice: models.Voice) -> schemas.Model:
    return schemas.Model(
        id=voice.id,
        created=int(voice.created_at),
        owned_by=voice.user_id,
        name=voice.name,
        version=voice.active_version,
    )
