"""GET /v1/usage: what the caller's account asked of the API, by day, key and model."""

from apiflask import APIBlueprint

from app.api import schemas
from app.api.paging import page_of
from app.api.services import caller, services
from storage import usage
from storage.models import ApiUsage

blueprint = APIBlueprint("usage", __name__, url_prefix="/v1/usage", tag="Usage")


@blueprint.get("")
@blueprint.input(schemas.UsageQuery, location="query", arg_name="query")
@blueprint.output(schemas.UsageList)
def list_usage(query: schemas.UsageQuery) -> schemas.UsageList:
    """List what your account used: requests and tokens of each day, key and model, the newest day first."""
    services().meter.flush()
    with services().storage.database.reading() as session:
        found = usage.list_usage(session, caller().user_id, days=query.days)
    part, has_more = page_of([_shown(row) for row in found], query)
    return schemas.UsageList(data=list(part), has_more=has_more)


def _shown(row: ApiUsage) -> schemas.Usage:
    return schemas.Usage(
        id=f"{row.day}/{row.key_id}/{row.model}",
        date=row.day,
        key=None if row.key_id == usage.PAGES else row.key_id,
        model=row.model or None,
        requests=row.requests,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
    )
