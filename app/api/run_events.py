"""A training's events as the API shows them, in a list or as they come."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.orm import Session

from app.api import schemas
from app.api.errors import missing
from storage import models, tuning_runs
from storage.errors import NotFound
from storage.models import ENDED_STATES
from storage.store import Storage

BATCH = 200


def shown_event(event: models.TuningEvent) -> schemas.TuningEvent:
    """An event as the API shows it."""
    return schemas.TuningEvent(**event_fields(event))


def event_fields(event: models.TuningEvent) -> dict[str, Any]:
    """What an event says, in whichever shape."""
    return {
        "id": str(event.id),
        "created_at": int(event.at),
        "level": event.level,
        "type": event.type,
        "message": event.message,
        "data": event.data,
    }


class RunEvents:
    """The events of one run after a given one, read again and again. Raises ApiError at once for a foreign run, and
    later once the run is deleted with its voice."""

    def __init__(self, storage: Storage, user_id: str, run_id: str, after: int) -> None:
        self._storage = storage
        self._user_id = user_id
        self._run_id = run_id
        self._after = after
        self._require_run()

    @property
    def ended(self) -> bool:
        """Has the run ended? Its last events may still have to be read."""
        return self._require_run().state in ENDED_STATES

    def new_events(self) -> list[tuple[str, str]]:
        """(id, JSON) of those that came since the last call."""
        with self._reading() as session:
            found = tuning_runs.list_events(session, self._user_id, self._run_id, after=self._after, limit=BATCH)
            fresh = [(str(event.id), shown_event(event).model_dump_json()) for event in found]
        if fresh:
            self._after = int(fresh[-1][0])
        return fresh

    def _require_run(self) -> models.TuningRun:
        with self._reading() as session:
            return tuning_runs.get_run(session, self._user_id, self._run_id)

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        try:
            with self._storage.database.reading() as session:
                yield session
        except NotFound as gone:  # perhaps long after the request, whose address would say what is missing
            raise missing("run") from gone
