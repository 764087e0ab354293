import math
from collections.abc import Callable

import pytest

from storage import maintenance, reports, run_claims, run_times, tuning_runs, workers
from storage.models import PrefixVersion, TuningRun, User
from storage.run_claims import Claim
from storage.run_times import Forecast
from storage.store import Storage
from tests import factories
from tests.factories import FINGERPRINT

WORKER = "worker-a"
TOOK = (100.0, 140.0, 900.0)  # the last was paused: the others have a mean of 120


class Clock:
    """The time in storage, which stands until it is moved."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("storage.clock.now", clock.now)
    return clock


@pytest.fixture
def house(storage: Storage, clock: Clock) -> Storage:
    """A worker lives, and three trainings have ended."""
    factories.register_base_model(storage)
    for seconds in TOOK:
        train(storage, clock, seconds)
    alive(storage)
    return storage


def alive(storage: Storage, *names: str) -> None:
    with storage.database.session() as session:
        for name in names or (WORKER,):
            workers.beat(session, name)


def asked(storage: Storage, user: User | None = None) -> TuningRun:
    user = user or factories.make_user(storage)
    return factories.make_run(storage, user, factories.first_voice(storage, user))


def held(
    storage: Storage, *, worker: str = WORKER, lease_s: float = 60.0, fingerprint: str = FINGERPRINT
) -> tuple[TuningRun, Claim]:
    run = asked(storage)
    claim = factories.claim_run(storage, run, worker=worker, lease_s=lease_s)
    with storage.database.session() as session:
        run_claims.start_running(session, claim, 100, base_fingerprint=fingerprint)
    return run, claim


def train(storage: Storage, clock: Clock, seconds: float, fingerprint: str = FINGERPRINT) -> None:
    """A whole training that takes so long and publishes nothing."""
    _, claim = held(storage, fingerprint=fingerprint)
    clock.at += seconds
    with storage.database.session() as session:
        run_claims.finish(session, claim, state="succeeded", published=False)


def told(storage: Storage, claim: Claim, seconds: float) -> None:
    """The run tells how much is left of it."""
    with storage.database.session() as session:
        run_claims.record_progress(session, claim, 10, {"step": 10, "eta_seconds": seconds})


def forecast(storage: Storage, run: TuningRun) -> Forecast | None:
    with storage.database.reading() as session:
        return run_times.forecast(session, tuning_runs.get_run(session, None, run.id))


def starts_in(storage: Storage, run: TuningRun) -> float:
    found = forecast(storage, run)
    assert found is not None
    assert found.takes_s == 120
    return found.starts_in_s


def finish_of(storage: Storage, run: TuningRun) -> int | None:
    with storage.database.reading() as session:
        return run_times.estimated_finish(session, tuning_runs.get_run(session, None, run.id))


def test_before_a_few_trainings_have_ended_nothing_is_told(storage: Storage, clock: Clock) -> None:
    factories.register_base_model(storage)
    alive(storage)
    for seconds in TOOK[:2]:
        train(storage, clock, seconds)
    alive(storage)
    run = asked(storage)
    assert forecast(storage, run) is None
    assert finish_of(storage, run) is None


def test_trainings_of_another_base_model_do_not_count(house: Storage, clock: Clock) -> None:
    factories.register_base_model(house, name="other", fingerprint="a" * 64)
    alive(house)
    assert forecast(house, asked(house)) is None


def nobody_lives(storage: Storage, clock: Clock, run: TuningRun) -> None:
    clock.at += workers.SILENT_AFTER_S + 1


def it_is_held_back(storage: Storage, clock: Clock, run: TuningRun) -> None:
    with storage.database.session() as session:
        maintenance.begin(session, "new disks", factories.make_user(storage).id)


def it_is_paused(storage: Storage, clock: Clock, run: TuningRun) -> None:
    with storage.database.session() as session:
        tuning_runs.pause_run(session, user_id=run.user_id, run_id=run.id, actor_id=run.user_id)


@pytest.mark.parametrize("happens", [nobody_lives, it_is_held_back, it_is_paused])
def test_where_no_worker_may_take_it_nothing_is_told(
    house: Storage, clock: Clock, happens: Callable[[Storage, Clock, TuningRun], None]
) -> None:
    run = asked(house)
    assert forecast(house, run) == Forecast(starts_in_s=0, takes_s=120)
    happens(house, clock, run)
    assert forecast(house, run) is None
    assert finish_of(house, run) is None


def test_a_run_waits_for_what_is_left_of_the_one_that_goes_on_and_for_those_before_it(
    house: Storage, clock: Clock
) -> None:
    _, claim = held(house)
    told(house, claim, 70.0)
    clock.at += 39
    alive(house)
    first = asked(house)
    clock.at += 1
    second = asked(house)
    assert starts_in(house, first) == 30
    assert starts_in(house, second) == 30 + 120
    assert finish_of(house, second) == 60 * math.ceil((clock.at + 30 + 120 + 120) / 60)
    clock.at += 50  # longer than it had told
    assert starts_in(house, first) == 0


def test_one_that_has_told_nothing_yet_takes_as_long_as_others_did(house: Storage, clock: Clock) -> None:
    held(house)
    clock.at += 15
    assert starts_in(house, asked(house)) == 120 - 15


def test_several_workers_share_the_queue(house: Storage, clock: Clock) -> None:
    alive(house, WORKER, "worker-b")
    _, claim = held(house)
    told(house, claim, 30.0)
    runs = [asked(house) for _ in range(3)]
    assert sorted(starts_in(house, run) for run in runs) == [0, 30, 120]


def test_a_worker_that_trains_several_together_has_as_many_places(house: Storage) -> None:
    for seconds in (50.0, 20.0):
        told(house, held(house)[1], seconds)
    runs = [asked(house) for _ in range(3)]
    assert sorted(starts_in(house, run) for run in runs) == [20, 50, 140]


def test_what_a_dead_worker_holds_comes_back_to_the_queue(house: Storage) -> None:
    told(house, held(house, worker="gone")[1], 10.0)
    assert starts_in(house, asked(house)) == 120


def test_a_report_that_was_asked_for_before_is_waited_for(house: Storage, clock: Clock) -> None:
    user = factories.make_user(house)
    voice = factories.first_voice(house, user)
    version = factories.publish(house, user, voice)
    clock.at += 20
    run = asked(house)
    assert starts_in(house, run) == 120 - 20
    with house.database.session() as session:
        reports.add_report(session, house.keys, user.id, version.run_id, {"neutral_rise_pct": 1.0})
    assert starts_in(house, run) == 0


def test_a_report_that_is_asked_for_later_is_not(house: Storage, clock: Clock) -> None:
    _, claim = held(house)
    clock.at += 10
    waits = asked(house)
    clock.at += 20
    with house.database.session() as session:
        run_claims.finish(session, claim, state="cancelled")
    user = factories.make_user(house)
    factories.publish(house, user, factories.first_voice(house, user))
    assert starts_in(house, waits) == 0


def test_a_run_that_goes_on_ends_when_it_says(house: Storage, clock: Clock) -> None:
    run, claim = held(house)
    assert finish_of(house, run) is None
    told(house, claim, 90.0)
    assert finish_of(house, run) == clock.at + 90
    clock.at += 100
    assert finish_of(house, run) is None, "it was interrupted since"


def trainings_before(storage: Storage, version: PrefixVersion) -> int | None:
    with storage.database.reading() as session:
        return run_times.trainings_before_report(session, version)


def test_a_report_waits_for_the_trainings_that_were_asked_for_before_it(house: Storage, clock: Clock) -> None:
    first, (_, claim) = asked(house), held(house)
    clock.at += 1
    user = factories.make_user(house)
    version = factories.publish(house, user, factories.first_voice(house, user))
    clock.at += 1
    asked(house)
    assert trainings_before(house, version) == 2
    with house.database.session() as session:
        run_claims.finish(session, claim, state="succeeded", published=False)
    assert trainings_before(house, version) == 1
    with house.database.session() as session:
        tuning_runs.cancel_run(session, user_id=None, run_id=first.id, actor_id=None)
    assert trainings_before(house, version) == 0


def test_a_report_does_not_wait_for_what_another_worker_trains(house: Storage, clock: Clock) -> None:
    held(house)
    clock.at += 1
    user = factories.make_user(house)
    version = factories.publish(house, user, factories.first_voice(house, user))
    assert trainings_before(house, version) == 1
    alive(house, "worker-b")
    assert trainings_before(house, version) == 0


def test_a_report_does_not_wait_for_what_is_held_back(house: Storage, clock: Clock) -> None:
    run = asked(house)
    clock.at += 1
    user = factories.make_user(house)
    version = factories.publish(house, user, factories.first_voice(house, user))
    assert trainings_before(house, version) == 1
    it_is_held_back(house, clock, run)
    assert trainings_before(house, version) == 0


def test_without_a_worker_nobody_knows_when_a_report_is_measured(house: Storage, clock: Clock) -> None:
    user = factories.make_user(house)
    version = factories.publish(house, user, factories.first_voice(house, user))
    clock.at += workers.SILENT_AFTER_S + 1
    assert trainings_before(house, version) is None
