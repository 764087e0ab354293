"""Is the platform well: queue, workers, cache, runs, and what of it needs a hand now. Counts only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.web.words import gettext, ngettext
from storage import base_models, clock, maintenance, overview, run_search, workers
from storage.models import CLAIMED_STATES, ENDED_STATES, LIVE_STATES, Maintenance, RunState
from storage.overview import Overview
from storage.redis_cache import CacheFigures
from storage.run_search import RunFilter
from storage.store import Storage
from tuning.celery_app import queue_length


@dataclass(frozen=True)
class Need:
    """One thing that will not mend itself, and the page to look at."""

    sentence: str
    endpoint: str
    narrowed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """What the overview and the workers' page show. `workers` are those with a recent sign of life."""

    counts: Overview
    messages: int | None  # in the queue, not yet fetched by a worker; None when the broker does not answer
    cache: CacheFigures
    workers: int
    base_model: str | None
    stuck: int  # runs whose worker has let the lease run out
    failed_lately: int  # within a day
    maintenance: Maintenance | None

    @property
    def queued(self) -> int:
        """Runs that wait for a worker."""
        return self.counts.queued

    @property
    def at_work(self) -> int:
        """Runs that a worker holds."""
        return sum(self.counts.runs_by_state.get(state, 0) for state in CLAIMED_STATES)

    @property
    def hit_rate(self) -> float | None:
        """Percent of prefix reads that the cache answered; None before the first."""
        reads = self.cache.hits + self.cache.misses
        return 100.0 * self.cache.hits / reads if reads else None

    @property
    def runs(self) -> list[tuple[RunState, int]]:
        """Every state with its number of runs, in the order a run passes through them."""
        return [(state, self.counts.runs_by_state.get(state, 0)) for state in (*LIVE_STATES, *ENDED_STATES)]

    @property
    def needs(self) -> list[Need]:
        """What somebody should look at, the gravest first."""
        asked = (
            (
                not self.workers,
                Need(gettext("No worker gives a sign of life: nothing is trained."), "admin.workers.index"),
            ),
            (self.messages is None, Need(gettext("The queue's broker does not answer."), "admin.workers.index")),
            (
                not self.cache.reachable,
                Need(gettext("The cache does not answer; the database does its work."), "admin.cache.show"),
            ),
            (
                self.stuck,
                Need(
                    ngettext(
                        "One run lost contact with the worker.",
                        "%(num)s runs lost contact with the worker.",
                        self.stuck,
                    ),
                    "admin.runs.index",
                    {"state": "lost"},
                ),
            ),
            (
                self.failed_lately,
                Need(
                    ngettext("One run failed within a day.", "%(num)s runs failed within a day.", self.failed_lately),
                    "admin.runs.index",
                    {"state": "failed", "within": "day"},
                ),
            ),
        )
        return [need for needed, need in asked if needed]


def look(storage: Storage) -> Health:
    """Look at everything once; what does not answer is waited for a second at most, with no transaction open."""
    messages, cache, now = queue_length(), storage.cache.figures(), clock.now()
    with storage.database.reading() as session:
        current = base_models.current(session)
        return Health(
            counts=overview.read_overview(session),
            messages=messages,
            cache=cache,
            workers=len(workers.living(session)),
            base_model=current.name if current else None,
            stuck=run_search.count(session, RunFilter(lost=True)),
            maintenance=maintenance.current(session),
            failed_lately=run_search.count(session, RunFilter(states=("failed",), ended_since=now - run_search.DAY_S)),
        )
