"""How many tokens one account may have read and written in a day (UTC), where it has such a quota: whoever has reached
it is refused until the day ends. What is being written at that moment is finished, so a day can end a little above it;
other processes' answers of the last few seconds are not counted yet.
"""

from datetime import UTC, datetime, timedelta

from app.api.errors import NO_RETRY, ApiError
from app.api.usage_meter import UsageMeter
from storage import clock, quotas
from storage.database import Database

CODE = "insufficient_quota"  # OpenAI's word, as `code` and as `type`


def refuse_beyond_the_day(database: Database, meter: UsageMeter, user_id: str) -> None:
    """Raise ApiError for an account that has used up its day."""
    with database.reading() as session:
        limit = quotas.of(session, user_id).tokens_per_day
        if not limit:
            return
        used = quotas.used(session, user_id, "tokens_per_day") + meter.uncounted(user_id)
    if used >= limit:
        headers = {**NO_RETRY, "Retry-After": str(_seconds_to_midnight())}
        raise ApiError(429, quotas.sentence("tokens_per_day", limit, used), code=CODE, kind=CODE, headers=headers)


def _seconds_to_midnight() -> int:
    now = datetime.fromtimestamp(clock.now(), UTC)
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
    return max(1, int((midnight - now).total_seconds()))
