"""Writing samples: kept sealed, read back whole, for their owner alone."""

import re
import threading

import pytest
from sqlalchemy import select, text

from storage import samples, voices
from storage.errors import IntegrityError, InvalidSample, KeyErased, LimitReached, NotFound
from storage.models import User, Voice, WritingSample
from storage.store import Storage
from tests import factories
from tests.factories import SAMPLE_TEXTS


@pytest.fixture
def user(storage: Storage) -> User:
    return factories.make_user(storage)


@pytest.fixture
def voice(storage: Storage, user: User) -> Voice:
    return factories.first_voice(storage, user)


def listed(storage: Storage, voice: Voice, *, included_only: bool = False) -> list[samples.Sample]:
    with storage.database.session() as session:
        return samples.list_samples(session, storage.keys, voice.user_id, voice.id, included_only=included_only)


def test_a_sample_is_read_back_as_it_was_given(storage: Storage, voice: Voice) -> None:
    with storage.database.session() as session:
        row = samples.add_sample(
            session, storage.keys, user_id=voice.user_id, voice_id=voice.id, text=SAMPLE_TEXTS[0],
            title="The ferry", prompt="Write about waiting", written_on="2024-05-31",
        )  # fmt: skip
    with storage.database.session() as session:
        sample = samples.get_sample(session, storage.keys, voice.user_id, voice.id, row.id)
    assert (sample.text, sample.title, sample.prompt) == (SAMPLE_TEXTS[0], "The ferry", "Write about waiting")
    assert (sample.written_on, sample.included, sample.position) == ("2024-05-31", True, 0)
    assert (sample.num_words, sample.num_chars) == (len(SAMPLE_TEXTS[0].split()), len(SAMPLE_TEXTS[0]))


def test_the_rows_hold_no_word_of_it(storage: Storage, voice: Voice) -> None:
    canary = "zanzibarquokka"
    with storage.database.session() as session:
        samples.add_sample(
            session, storage.keys, user_id=voice.user_id, voice_id=voice.id, text=f"A letter about {canary}.",
            title=f"On {canary}", prompt=f"Why {canary}?",
        )  # fmt: skip
    with storage.database.session() as session:
        row = session.execute(text("SELECT * FROM writing_samples")).one()
    for value in row:
        stored = value if isinstance(value, bytes) else str(value).encode()
        assert canary.encode() not in bytes(stored)


def test_a_row_moved_to_another_owner_or_place_does_not_open(storage: Storage, user: User, voice: Voice) -> None:
    first, second = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:2])
    with storage.database.session() as session:
        rows = {row.id: row for row in session.scalars(select(WritingSample))}
        rows[first.id].text_sealed = rows[second.id].text_sealed
    with pytest.raises(IntegrityError):
        listed(storage, voice)


def test_samples_come_in_the_order_they_were_given(storage: Storage, user: User, voice: Voice) -> None:
    factories.add_samples(storage, user, voice)
    assert [sample.text for sample in listed(storage, voice)] == list(SAMPLE_TEXTS)
    assert [sample.position for sample in listed(storage, voice)] == [0, 1, 2, 3, 4]


def test_the_same_text_is_kept_once_in_a_voice(storage: Storage, user: User, voice: Voice) -> None:
    factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:1])
    for again in (SAMPLE_TEXTS[0], f"  {SAMPLE_TEXTS[0]}\r\n"):
        with pytest.raises(InvalidSample, match="already among the samples"):
            factories.add_samples(storage, user, voice, [again])
    factories.add_samples(storage, user, factories.make_voice(storage, user), SAMPLE_TEXTS[:1])
    assert len(listed(storage, voice)) == 1


def test_nobody_can_tell_that_two_people_wrote_the_same(storage: Storage, user: User, voice: Voice) -> None:
    other = factories.make_user(storage)
    (mine,) = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:1])
    (theirs,) = factories.add_samples(storage, other, factories.first_voice(storage, other), SAMPLE_TEXTS[:1])
    assert mine.content_mac != theirs.content_mac


def test_a_bad_sample_among_good_ones_leaves_the_good_ones(storage: Storage, user: User, voice: Voice) -> None:
    with storage.database.session() as session:
        for given in (SAMPLE_TEXTS[0], "short", SAMPLE_TEXTS[0], SAMPLE_TEXTS[1]):
            try:
                samples.add_sample(session, storage.keys, user_id=user.id, voice_id=voice.id, text=given)
            except InvalidSample:
                continue
    assert [sample.text for sample in listed(storage, voice)] == list(SAMPLE_TEXTS[:2])


def test_the_same_text_sent_twice_at_once_is_kept_once(storage: Storage, user: User, voice: Voice) -> None:
    barrier, outcomes = threading.Barrier(3), []

    def send() -> None:
        barrier.wait()
        try:
            factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:1])
            outcomes.append("kept")
        except InvalidSample:
            outcomes.append("refused")

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["kept", "refused", "refused"]


def test_a_voice_holds_a_limited_number(
    storage: Storage, user: User, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "MAX_SAMPLES", 3)
    factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:3])
    with pytest.raises(LimitReached, match="delete some, or join"):
        factories.add_samples(storage, user, voice, SAMPLE_TEXTS[3:4])


def test_a_voice_holds_a_limited_amount_of_text(
    storage: Storage, user: User, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "MAX_VOICE_CHARS", len(SAMPLE_TEXTS[0]) + 100)
    factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:1])
    with pytest.raises(LimitReached, match="delete some samples to make room"):
        factories.add_samples(storage, user, voice, SAMPLE_TEXTS[1:2])


def test_samples_are_left_out_taken_in_and_deleted(storage: Storage, user: User, voice: Voice) -> None:
    first, second = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:2])
    with storage.database.session() as session:
        samples.set_included(session, user.id, voice.id, first.id, False)
    assert [sample.id for sample in listed(storage, voice, included_only=True)] == [second.id]
    with storage.database.session() as session:
        assert samples.included_ids(session, user.id, voice.id) == [second.id]
        samples.set_included(session, user.id, voice.id, first.id, True)
        samples.delete_sample(session, user.id, voice.id, second.id)
    assert [sample.id for sample in listed(storage, voice)] == [first.id]
    with pytest.raises(NotFound), storage.database.session() as session:
        samples.delete_sample(session, user.id, voice.id, second.id)


def test_reading_by_id_keeps_the_order_and_leaves_out_what_is_gone(storage: Storage, user: User, voice: Voice) -> None:
    rows = factories.add_samples(storage, user, voice)
    wanted = [rows[3].id, "sample-gone", rows[0].id]
    with storage.database.session() as session:
        found = samples.read_samples(session, storage.keys, user.id, wanted)
    assert [sample.id for sample in found] == [rows[3].id, rows[0].id]


def test_without_the_key_nothing_can_be_read_or_added(storage: Storage, user: User, voice: Voice) -> None:
    factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:1])
    storage.keys.erase(user.id)
    with pytest.raises(KeyErased):
        listed(storage, voice)
    with pytest.raises(KeyErased):
        factories.add_samples(storage, user, voice, SAMPLE_TEXTS[1:2])


@pytest.mark.parametrize(
    ("words", "enough", "sentence"),
    [
        (
            [],
            False,
            "Add a few things you have written: 3 pieces with 100 words between them, or about 300 words in all",
        ),
        ([60], False, "2 more pieces, so that all 3 have 100 words between them, or about 240 more words"),
        ([120], False, "2 more pieces, or about 180 more words"),
        ([20, 20], False, "1 more piece, so that all 3 have 100 words between them, or about 260 more words"),
        ([60, 60], False, "1 more piece, or about 180 more words"),
        ([20, 20, 20], False, "about 40 more words and you can train"),
        ([60, 60, 60], True, "Enough to begin.*420 more words would make it 600.* 2.9 % closer"),
        ([300], True, "Enough to begin"),
        ([700], True, "300 more words.* 3.2 % closer to them, where 600 words brought 2.9 %"),
        ([4500], True, "3,500 more words would make it 8,000.* 4.5 %.*where 4,000 words brought 4.2 %"),
        ([8500], True, "Plenty to learn from"),
    ],
)
def test_readiness_says_what_more_would_bring(
    storage: Storage, user: User, voice: Voice, words: list[int], enough: bool, sentence: str
) -> None:
    given = [" ".join(f"{chr(97 + number)}{word}" for word in range(count)) for number, count in enumerate(words)]
    factories.add_samples(storage, user, voice, given)
    with storage.database.session() as session:
        ready = samples.readiness(session, user.id, voice.id)
    assert (ready.num_samples, ready.num_words, ready.enough) == (len(words), sum(words), enough)
    assert re.search(sentence, ready.sentence)
    if ready.goal_words is not None:
        assert f"{ready.missing_words:,} more words" in ready.sentence or not words
    else:
        assert ready.missing_words == 0


def test_readiness_counts_only_what_is_included(storage: Storage, user: User, voice: Voice) -> None:
    rows = factories.add_samples(storage, user, voice)
    with storage.database.session() as session:
        for row in rows[1:]:
            samples.set_included(session, user.id, voice.id, row.id, False)
        ready = samples.readiness(session, user.id, voice.id)
    assert (ready.num_samples, ready.enough) == (1, False)


def test_adding_to_a_voice_that_is_being_deleted_says_that_it_is_gone(storage: Storage, user: User) -> None:
    voice = factories.make_voice(storage, user)
    voices.delete_voice(storage, user.id, voice.id)
    with pytest.raises(NotFound):
        factories.add_samples(storage, user, voice)


def awaiting(storage: Storage, voice: Voice) -> list[str]:
    with storage.database.session() as session:
        ids = samples.included_ids(session, voice.user_id, voice.id)
        return [sample.id for sample in samples.awaiting_prompt(session, storage.keys, voice.user_id, ids)]


def keep_made(storage: Storage, user: User, sample_id: str, prompt: str | None) -> bool:
    with storage.database.session() as session:
        return samples.set_made_prompt(session, storage.keys, user.id, sample_id, prompt)


def prompts(storage: Storage, voice: Voice) -> list[tuple[str | None, bool]]:
    return [(sample.prompt, sample.prompt_made) for sample in listed(storage, voice)]


def test_a_made_prompt_is_kept_once_sealed_and_marked(storage: Storage, user: User, voice: Voice) -> None:
    first, second = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:2])
    assert awaiting(storage, voice) == [first.id, second.id]
    assert keep_made(storage, user, first.id, "Write about the zanzibarquokka.")
    assert not keep_made(storage, user, first.id, "Write about something else.")
    assert prompts(storage, voice) == [("Write about the zanzibarquokka.", True), (None, False)]
    assert awaiting(storage, voice) == [second.id]
    with storage.database.session() as session:
        stored = session.get_one(WritingSample, first.id).prompt_sealed
    assert stored
    assert b"zanzibarquokka" not in stored


def test_what_was_tried_in_vain_is_not_tried_again_and_is_not_marked(
    storage: Storage, user: User, voice: Voice
) -> None:
    (row,) = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:1])
    assert keep_made(storage, user, row.id, None)
    assert awaiting(storage, voice) == []
    assert prompts(storage, voice) == [(None, False)]


def test_a_made_prompt_never_takes_the_place_of_what_the_person_set_or_cleared(
    storage: Storage, user: User, voice: Voice
) -> None:
    rows = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:3])
    for row, given in zip(rows, ("Mine.", "  ", None), strict=True):
        with storage.database.session() as session:
            samples.set_prompt(session, storage.keys, user.id, voice.id, row.id, given)
        assert not keep_made(storage, user, row.id, "The model's.")
    assert prompts(storage, voice) == [("Mine.", False), (None, False), (None, False)]
    assert awaiting(storage, voice) == []
    stranger = factories.make_user(storage)
    (other,) = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[3:4])
    assert not keep_made(storage, stranger, other.id, "The model's.")


def test_an_edited_prompt_is_the_persons_and_may_not_be_too_long(storage: Storage, user: User, voice: Voice) -> None:
    (row,) = factories.add_samples(storage, user, voice, SAMPLE_TEXTS[:1])
    keep_made(storage, user, row.id, "The model's.")
    with pytest.raises(InvalidSample, match="shorten it"), storage.database.session() as session:
        samples.set_prompt(session, storage.keys, user.id, voice.id, row.id, "x" * 4001)
    assert prompts(storage, voice) == [("The model's.", True)]
    with storage.database.session() as session:
        samples.set_prompt(session, storage.keys, user.id, voice.id, row.id, "Mine.")
    assert prompts(storage, voice) == [("Mine.", False)]
