"""/v1/voices/{voice_id}/samples: the texts a voice is trained on. A list names them; one by one they come with text."""

from apiflask import APIBlueprint

from app.api import schemas
from app.api.idempotency import idempotent, keep
from app.api.paging import page_of
from app.api.services import caller, services
from storage import samples

blueprint = APIBlueprint("samples", __name__, url_prefix="/v1/voices/<voice_id>/samples", tag="Samples")
EXAMPLE = {
    "text": "I keep the kettle on the left of the stove. Nobody moves it, and nobody has asked why; that suits me.",
    "title": "The kettle",
    "written_on": "2025-03-01",
}

CHANGE_EXAMPLE = {"included": True, "prompt": "Where do you keep the kettle?"}


@blueprint.get("")
@blueprint.input(schemas.Page, location="query", arg_name="page")
@blueprint.output(schemas.SampleList)
def list_samples(voice_id: str, page: schemas.Page) -> schemas.SampleList:
    """List a voice's samples, without their texts."""
    storage = services().storage
    with storage.database.reading() as session:
        part, has_more = page_of(samples.list_samples(session, storage.keys, caller().user_id, voice_id), page)
    return schemas.SampleList(data=[_summary(sample) for sample in part], has_more=has_more)


@blueprint.post("")
@blueprint.input(schemas.NewSample, arg_name="body", example=EXAMPLE)
@blueprint.output(schemas.Sample, status_code=201)
@idempotent
def add_sample(voice_id: str, body: schemas.NewSample) -> tuple[schemas.Sample, int]:
    """Add a text you wrote."""
    storage, user_id = services().storage, caller().user_id
    with storage.database.session() as session:
        added = samples.add_sample(
            session,
            storage.keys,
            user_id=user_id,
            voice_id=voice_id,
            text=body.text,
            title=body.title,
            prompt=body.prompt,
            written_on=body.written_on,
        )
        made = samples.get_sample(session, storage.keys, user_id, voice_id, added.id)
        return keep(session, _shown(made), 201)


@blueprint.get("/<sample_id>")
@blueprint.output(schemas.Sample)
def get_sample(voice_id: str, sample_id: str) -> schemas.Sample:
    """Read a sample."""
    storage = services().storage
    with storage.database.reading() as session:
        return _shown(samples.get_sample(session, storage.keys, caller().user_id, voice_id, sample_id))


@blueprint.patch("/<sample_id>")
@blueprint.input(schemas.SampleChange, arg_name="body", example=CHANGE_EXAMPLE)
@blueprint.output(schemas.Sample)
def change_sample(voice_id: str, sample_id: str, body: schemas.SampleChange) -> schemas.Sample:
    """Include a sample in training or leave it out, and say what it answers."""
    storage, user_id = services().storage, caller().user_id
    with storage.database.session() as session:
        if "included" in body.model_fields_set:
            samples.set_included(session, user_id, voice_id, sample_id, body.included)
        if "prompt" in body.model_fields_set:
            samples.set_prompt(session, storage.keys, user_id, voice_id, sample_id, body.prompt)
        return _shown(samples.get_sample(session, storage.keys, user_id, voice_id, sample_id))


@blueprint.delete("/<sample_id>")
@blueprint.output(schemas.Deleted)
def delete_sample(voice_id: str, sample_id: str) -> schemas.Deleted:
    """Delete a sample."""
    with services().storage.database.session() as session:
        samples.delete_sample(session, caller().user_id, voice_id, sample_id)
    return schemas.Deleted(id=sample_id, object="sample", deleted=True)


def _summary(sample: samples.Sample) -> schemas.SampleSummary:
    return schemas.SampleSummary(
        id=sample.id,
        title=sample.title,
        written_on=sample.written_on,
        prompt=sample.prompt,
        prompt_made=sample.prompt_made,
        included=sample.included,
        num_words=sample.num_words,
        num_chars=sample.num_chars,
        created_at=int(sample.created_at),
    )


def _shown(sample: samples.Sample) -> schemas.Sample:
    return schemas.Sample(**_summary(sample).model_dump(), text=sample.text)
