"""GET /v1/usage: what the caller's account asked of the API, by day, key and model."""

from apiflask import APIBlueprint

from app.api import schemas
from app.api.paging import unknown_after
from app.api.services import caller, services
from storage import usage
from storage.models import ApiUsage
from storage.usage import Place

blueprint = APIBlueprint("usage", __name__, url_prefix="/v1/usage", tag="Usage")


@blueprint.get("")
@blueprint.input(schemas.UsageQuery, location="query", arg_name="query")
@blueprint.output(schemas.UsageList)
def list_usage(query: schemas.UsageQuery) -> schemas.UsageList:
    """List what your account used: requests and tokens of each day, key and model, the newest day first."""
    services().meter.flush()
    user_id = caller().user_id
    after = None if query.after is None else _place(user_id, query.after)
    with services().storage.database.reading() as session:
        found = usage.list_usage(session, user_id, days=query.days, after=after, limit=query.limit + 1)
    return schemas.UsageList(data=[_shown(row) for row in found[: query.limit]], has_more=len(found) > query.limit)


def _place(user_id: str, line_id: str) -> Place:
    day, key_id, model = (*line_id.split("/", 2), "", "")[:3]
    if not key_id:
        raise unknown_after()
    return Place(user_id, day, key_id, model)


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
