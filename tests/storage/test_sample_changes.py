"""What people do to samples: look at those that wait, edit, put back, split. A changed text is another sample."""

import threading

import pytest
from sqlalchemy import text

from storage import sample_changes, samples, tuning_runs
from storage.errors import InvalidSample, LimitReached, NotFound
from storage.models import User, Voice
from storage.remarks import OWN, Part, Remarks
from storage.sample_rows import Sample
from storage.store import Storage
from tests import factories
from tests.factories import SAMPLE_TEXTS

QUOTED = "> Somebody's zanzibarquokka of a sentence."
REMARKS = Remarks(
    source="letters.zip › reply.eml",
    parts=(Part("quote", QUOTED, out=True), Part(OWN, SAMPLE_TEXTS[0], out=False)),
    language="fr",
    expected="en",
    expected_by="rest",
)


@pytest.fixture
def user(storage: Storage) -> User:
    return factories.make_user(storage)


@pytest.fixture
def voice(storage: Storage, user: User) -> Voice:
    return factories.first_voice(storage, user)


def listed(storage: Storage, voice: Voice) -> list[Sample]:
    with storage.database.session() as session:
        return samples.list_samples(session, storage.keys, voice.user_id, voice.id)


def bring(storage: Storage, voice: Voice, *texts: str, remarks: Remarks = REMARKS) -> list[str]:
    """Samples that wait: their ids."""
    before = {sample.id for sample in listed(storage, voice)}
    drafts = [samples.draft(each, title="A letter", written_on="2026-03-03") for each in texts]
    with storage.database.session() as session:
        samples.add_drafts(
            session, storage.keys, user_id=voice.user_id, voice_id=voice.id, drafts=drafts,
            noticed=[remarks] * len(drafts), waiting=True,
        )  # fmt: skip
    return [sample.id for sample in listed(storage, voice) if sample.id not in before]


def test_what_waits_is_left_out_of_training_and_readiness_until_it_is_decided(storage: Storage, voice: Voice) -> None:
    first, second, third = bring(storage, voice, *SAMPLE_TEXTS[:3])
    with storage.database.session() as session:
        assert samples.included_ids(session, voice.user_id, voice.id) == []
        assert samples.readiness(session, voice.user_id, voice.id).num_samples == 0
        assert sample_changes.count_waiting(session, voice.user_id, voice.id) == 3
        with pytest.raises(InvalidSample):
            tuning_runs.request_run(session, user_id=voice.user_id, voice_id=voice.id)
    with storage.database.session() as session:
        assert sample_changes.decide(session, voice.user_id, voice.id, [first, second], [first, third]) == (1, 1)
    assert [(sample.included, sample.waiting) for sample in listed(storage, voice)] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    with storage.database.session() as session:
        assert sample_changes.decide(session, voice.user_id, voice.id, [first, second], [second]) == (0, 0)
        assert samples.included_ids(session, voice.user_id, voice.id) == [first]


def test_taking_a_sample_in_decides_it(storage: Storage, voice: Voice) -> None:
    (waiting,) = bring(storage, voice, SAMPLE_TEXTS[0])
    with storage.database.session() as session:
        samples.set_included(session, voice.user_id, voice.id, waiting, True)
        assert sample_changes.count_waiting(session, voice.user_id, voice.id) == 0
        assert samples.included_ids(session, voice.user_id, voice.id) == [waiting]


def test_what_waits_is_discarded_and_nothing_else(storage: Storage, user: User, voice: Voice) -> None:
    (kept,) = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[3:4])
    bring(storage, voice, *SAMPLE_TEXTS[:2])
    with storage.database.session() as session:
        assert sample_changes.discard_waiting(session, user.id, voice.id) == 2
    assert [sample.id for sample in listed(storage, voice)] == [kept.id]


def test_pages_hold_what_waits_in_its_order_and_the_rest_newest_first(
    storage: Storage, user: User, voice: Voice
) -> None:
    factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:3])
    bring(storage, voice, *SAMPLE_TEXTS[3:])

    def page(number: int, *, waiting: bool) -> tuple[list[str], int, int]:
        with storage.database.session() as session:
            shown, at, count = samples.page_of(
                session, storage.keys, user.id, voice.id, waiting=waiting, page=number, size=2
            )
        return [sample.text for sample in shown], at, count

    assert page(1, waiting=False) == ([SAMPLE_TEXTS[2], SAMPLE_TEXTS[1]], 1, 3)
    assert page(9, waiting=False) == ([SAMPLE_TEXTS[0]], 2, 3)
    assert page(0, waiting=True) == (list(SAMPLE_TEXTS[3:]), 1, 2)


def test_remarks_are_read_back_and_the_rows_hold_no_word_of_them(storage: Storage, voice: Voice) -> None:
    bring(storage, voice, SAMPLE_TEXTS[0])
    assert listed(storage, voice)[0].remarks == REMARKS
    with storage.database.session() as session:
        row = session.execute(text("SELECT * FROM writing_samples")).one()
    for value in row:
        stored = value if isinstance(value, bytes) else str(value).encode()
        assert b"zanzibarquokka" not in bytes(stored)
        assert b"reply.eml" not in bytes(stored)


def test_what_was_taken_out_is_put_back_and_taken_out_again(storage: Storage, voice: Voice) -> None:
    (sample_id,) = bring(storage, voice, SAMPLE_TEXTS[0])
    keys, ours = storage.keys, (voice.user_id, voice.id)
    with storage.database.session() as session:
        back = sample_changes.set_part(session, keys, *ours, sample_id, 0, out=False)
    (sample,) = listed(storage, voice)
    assert back == sample.id != sample_id
    assert sample.text == f"{QUOTED}\n\n{SAMPLE_TEXTS[0]}"
    assert (sample.waiting, sample.title, sample.written_on) == (True, "A letter", "2026-03-03")
    assert sample.remarks.taken_out == ()
    with storage.database.session() as session:
        sample_changes.set_part(session, keys, *ours, back, 0, out=True)
    (sample,) = listed(storage, voice)
    assert (sample.text, sample.remarks) == (SAMPLE_TEXTS[0], REMARKS)
    for number in (1, 2, -1, 10**30):
        with pytest.raises(NotFound), storage.database.session() as session:
            sample_changes.set_part(session, keys, *ours, sample.id, number, out=False)


def test_an_edited_text_is_another_sample_in_the_same_place(storage: Storage, user: User, voice: Voice) -> None:
    rows = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:3])
    with storage.database.session() as session:
        samples.set_prompt(session, storage.keys, user.id, voice.id, rows[1].id, "Why?")
        new = sample_changes.change_text(
            session, storage.keys, user.id, voice.id, rows[1].id, SAMPLE_TEXTS[1] + " The end."
        )
    found = listed(storage, voice)
    assert [sample.id for sample in found] == [rows[0].id, new, rows[2].id]
    assert new != rows[1].id
    assert (found[1].text, found[1].prompt, found[1].included) == (f"{SAMPLE_TEXTS[1]} The end.", "Why?", True)
    assert found[1].num_words == len(found[1].text.split())


def test_an_edit_that_changes_nothing_changes_nothing(storage: Storage, user: User, voice: Voice) -> None:
    (row,) = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:1])
    with storage.database.session() as session:
        same = sample_changes.change_text(session, storage.keys, user.id, voice.id, row.id, f"{SAMPLE_TEXTS[0]}\r\n")
    assert same == row.id


def test_title_and_date_are_changed_without_another_id(storage: Storage, user: User, voice: Voice) -> None:
    (row,) = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:1])
    with storage.database.session() as session:
        sample_changes.describe(
            session, storage.keys, user.id, voice.id, row.id, title=" The ferry ", written_on="2026-01-02"
        )
    (sample,) = listed(storage, voice)
    assert (sample.id, sample.title, sample.written_on) == (row.id, "The ferry", "2026-01-02")
    with pytest.raises(InvalidSample), storage.database.session() as session:
        sample_changes.describe(session, storage.keys, user.id, voice.id, row.id, title=None, written_on="spring")


@pytest.mark.parametrize("given", ["", "short", SAMPLE_TEXTS[1], "x" * 200_001])
def test_an_edit_that_cannot_be_kept_leaves_everything_as_it_was(
    storage: Storage, user: User, voice: Voice, given: str
) -> None:
    rows = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:2])
    with pytest.raises(InvalidSample), storage.database.session() as session:
        sample_changes.change_text(session, storage.keys, user.id, voice.id, rows[0].id, given)
    assert [sample.id for sample in listed(storage, voice)] == [row.id for row in rows]


def test_a_sample_is_split_in_its_place(storage: Storage, user: User, voice: Voice) -> None:
    before, after = SAMPLE_TEXTS[3], SAMPLE_TEXTS[4]
    factories.add_samples(storage, user, voice, [before])
    with storage.database.session() as session:
        long = samples.add_sample(
            session, storage.keys, user_id=user.id, voice_id=voice.id, text="\n\n".join(SAMPLE_TEXTS[:3]),
            title="Three letters", written_on="2026-03-03",
        )  # fmt: skip
    factories.add_samples(storage, user, voice, [after])
    with storage.database.session() as session:
        made = sample_changes.split_sample(session, storage.keys, user.id, voice.id, long.id, SAMPLE_TEXTS[:3])
    found = listed(storage, voice)
    assert [sample.text for sample in found] == [before, *SAMPLE_TEXTS[:3], after]
    assert [sample.position for sample in found] == [0, 1, 2, 3, 4]
    assert [sample.id for sample in found[1:4]] == made
    assert found[1].title == "Three letters (1 of 3)"
    assert {sample.written_on for sample in found[1:4]} == {"2026-03-03"}


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([SAMPLE_TEXTS[0]], "at least two"),
        ([SAMPLE_TEXTS[0], "Hi."], "Part 2"),
        ([SAMPLE_TEXTS[0], SAMPLE_TEXTS[0]], "say the same"),
        ([SAMPLE_TEXTS[2], SAMPLE_TEXTS[1]], "Another sample"),
    ],
)
def test_a_split_that_cannot_be_kept_leaves_everything_as_it_was(
    storage: Storage, user: User, voice: Voice, parts: list[str], says: str
) -> None:
    rows = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:2])
    with pytest.raises(InvalidSample, match=says), storage.database.session() as session:
        sample_changes.split_sample(session, storage.keys, user.id, voice.id, rows[0].id, parts)
    assert [sample.id for sample in listed(storage, voice)] == [row.id for row in rows]


def test_a_split_needs_room(storage: Storage, user: User, voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:1])
    monkeypatch.setattr(samples, "MAX_SAMPLES", 1)
    with pytest.raises(LimitReached), storage.database.session() as session:
        sample_changes.split_sample(session, storage.keys, user.id, voice.id, row.id, SAMPLE_TEXTS[1:3])
    assert [sample.id for sample in listed(storage, voice)] == [row.id]


def test_two_hands_that_change_one_sample_at_once_leave_one_sample(storage: Storage, user: User, voice: Voice) -> None:
    (row,) = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:1])
    barrier, outcomes = threading.Barrier(3), []

    def change(number: int) -> None:
        barrier.wait()
        try:
            with storage.database.session() as session:
                text = f"{SAMPLE_TEXTS[0]} Hand {number}."
                sample_changes.change_text(session, storage.keys, user.id, voice.id, row.id, text)
            outcomes.append("changed")
        except NotFound:
            outcomes.append("gone")

    threads = [threading.Thread(target=change, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["changed", "gone", "gone"]
    assert len(listed(storage, voice)) == 1
