"""Blind trials: drawn by lot, decided once, counted honestly, and without a word of text."""

import pytest
from sqlalchemy import func, select, update

from storage import clock, trials, voices
from storage.errors import Conflict, NoPublishedVersion, NotFound
from storage.models import BlindTrial, User, Voice
from storage.store import Storage
from storage.trials import MOST_OPEN, OPEN_S, SIDES, Side, Tally
from tests import factories


@pytest.fixture
def user(storage: Storage) -> User:
    return factories.make_user(storage)


@pytest.fixture
def voice(storage: Storage, user: User) -> Voice:
    """With two versions, the second in use."""
    voice = factories.first_voice(storage, user)
    for _ in range(2):
        factories.publish(storage, user, voice)
    return voice


def begin(storage: Storage, user: User, voice: Voice, against: int | None = None, strength: float = 1.0) -> BlindTrial:
    with storage.database.session() as session:
        return trials.begin_trial(session, user.id, voice.id, against=against, strength=strength)


def choose(storage: Storage, trial: BlindTrial, side: Side | None) -> BlindTrial:
    with storage.database.session() as session:
        return trials.choose(session, trial.user_id, trial.id, side)


def side_of(trial: BlindTrial, *, version: bool) -> Side:
    return next(side for side in SIDES if trials.is_version(trial, side) is version)


def count(storage: Storage) -> int:
    with storage.database.reading() as session:
        return session.scalar(select(func.count()).select_from(BlindTrial)) or 0


def test_the_order_is_drawn_anew_for_each_trial_and_remembered(storage: Storage, user: User, voice: Voice) -> None:
    drawn = [begin(storage, user, voice) for _ in range(40)]
    assert {trial.version_first for trial in drawn} == {True, False}
    for trial in drawn:
        with storage.database.reading() as session:
            kept = trials.get_trial(session, user.id, trial.id)
        assert kept.version_first is trial.version_first
        assert trials.is_version(kept, "first") is kept.version_first is not trials.is_version(kept, "second")
        assert (kept.version, kept.against, kept.choice) == (2, None, None)


@pytest.mark.parametrize(("mine", "choice"), [(True, "version"), (False, "against"), (None, "neither")])
def test_what_was_chosen_is_who_wrote_it_and_not_where_it_stood(
    storage: Storage, user: User, voice: Voice, mine: bool | None, choice: str
) -> None:
    for _ in range(4):
        trial = begin(storage, user, voice)
        chosen = choose(storage, trial, None if mine is None else side_of(trial, version=mine))
        assert chosen.choice == choice
        assert chosen.chosen_at is not None


def test_a_trial_is_decided_once(storage: Storage, user: User, voice: Voice) -> None:
    trial = begin(storage, user, voice)
    chosen = choose(storage, trial, "first")
    others: tuple[Side | None, ...] = ("second", None)
    for other in others:
        with pytest.raises(Conflict, match="has been decided"):
            choose(storage, trial, other)
    again = choose(storage, trial, "first")  # its answer may have been lost
    assert (again.choice, again.chosen_at) == (chosen.choice, chosen.chosen_at)


def test_a_trial_stays_with_the_version_it_began_with(storage: Storage, user: User, voice: Voice) -> None:
    trial = begin(storage, user, voice)
    with storage.database.session() as session:
        voices.use_version(session, user.id, voice.id, 1)
    assert choose(storage, trial, None).version == 2


def test_both_sides_must_differ_and_be_there(storage: Storage, user: User, voice: Voice) -> None:
    for against, strength, error, says in (
        (2, 1.0, Conflict, "is the one in use"),
        (7, 1.0, NotFound, "no such version"),
        (None, 0.0, Conflict, "both sides would be the base model"),
        (1, 0.0, Conflict, "both sides would be the base model"),
    ):
        with pytest.raises(error, match=says):
            begin(storage, user, voice, against, strength)
    with storage.database.session() as session:
        voices.use_version(session, user.id, voice.id, None)
    with pytest.raises(NoPublishedVersion):
        begin(storage, user, voice)


def test_trials_are_counted_by_what_they_were_against_and_how_far_the_voice_was_followed(
    storage: Storage, user: User, voice: Voice
) -> None:
    begin(storage, user, voice)  # not decided
    for against, strength, mine in (
        *((None, 1.0, True),) * 3,
        (None, 1.0, False),
        (None, 1.0, None),
        (None, 1.5, True),
        (1, 1.0, False),
    ):
        trial = begin(storage, user, voice, against, strength)
        choose(storage, trial, None if mine is None else side_of(trial, version=mine))
    with storage.database.reading() as session:
        assert trials.tallies(session, user.id, voice.id, 2) == [
            Tally(None, own_strength=True, version=3, other=1, neither=1),
            Tally(None, own_strength=False, version=1),
            Tally(1, own_strength=True, other=1),
        ]
        assert trials.tallies(session, user.id, voice.id, 1) == []


def test_what_is_never_decided_does_not_pile_up(storage: Storage, user: User, voice: Voice) -> None:
    other = factories.make_user(storage)
    factories.publish(storage, other, theirs := factories.first_voice(storage, other))
    begin(storage, other, theirs)
    decided = choose(storage, begin(storage, user, voice), None)
    for _ in range(3):
        begin(storage, user, voice)
    with storage.database.session() as session:
        session.execute(update(BlindTrial).values(created_at=clock.now() - OPEN_S - 1))
    newest = begin(storage, user, voice)
    assert count(storage) == 3  # theirs, the decided one, the newest
    for _ in range(MOST_OPEN):
        newest = begin(storage, user, voice)
    assert count(storage) == MOST_OPEN + 2
    with storage.database.reading() as session:
        assert trials.get_trial(session, user.id, decided.id).choice == "neither"
        assert trials.get_trial(session, user.id, newest.id)


def test_nothing_of_a_trial_outlives_its_voice(storage: Storage, user: User, voice: Voice) -> None:
    choose(storage, begin(storage, user, voice), "first")
    voices.delete_voice(storage, user.id, voice.id)
    assert count(storage) == 0
