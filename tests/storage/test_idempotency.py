"""Requests that are done once: turns, answers, and what becomes of those whose process died."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text

from storage import clock, idempotency, users, voices
from storage.errors import IntegrityError, KeyErased, KeyReused, LimitReached, NotFound, RequestUnderWay
from storage.idempotency import CLAIM_S, KEPT_S, Answer, Turn
from storage.models import IdempotencyKey
from storage.store import Storage
from tests import factories

NAME, REQUEST, MADE = "a key", b"a request", Answer(201, b'{"id": "voice-1"}')


@pytest.fixture
def user_id(storage: Storage) -> str:
    return factories.make_user(storage).id


def begin(storage: Storage, user_id: str, name: str = NAME, request: bytes = REQUEST) -> Turn | Answer:
    with storage.database.session() as session:
        return idempotency.begin(session, storage.keys, user_id, name, request)


def turn(storage: Storage, user_id: str, name: str = NAME) -> Turn:
    begun = begin(storage, user_id, name)
    assert isinstance(begun, Turn)
    return begun


def keep(storage: Storage, held: Turn, answer: Answer = MADE) -> None:
    with storage.database.session() as session:
        idempotency.keep(session, storage.keys, held, answer)


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    at = clock.now() + seconds
    monkeypatch.setattr(clock, "now", lambda: at)


def test_the_second_is_answered_as_the_first_within_a_day(
    storage: Storage, user_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(storage, turn(storage, user_id))
    assert begin(storage, user_id) == MADE
    pass_time(monkeypatch, KEPT_S - 1)
    assert begin(storage, user_id) == MADE
    pass_time(monkeypatch, 2)
    assert isinstance(begin(storage, user_id), Turn)


def test_another_request_under_the_same_name_is_refused_also_while_the_first_is_at_work(
    storage: Storage, user_id: str
) -> None:
    held = turn(storage, user_id)
    with pytest.raises(KeyReused):
        begin(storage, user_id, request=b"another request")
    keep(storage, held)
    with pytest.raises(KeyReused):
        begin(storage, user_id, request=b"another request")
    assert isinstance(begin(storage, user_id, "another key", b"another request"), Turn)


def test_names_are_each_accounts_own(storage: Storage, user_id: str) -> None:
    keep(storage, turn(storage, user_id))
    other = factories.make_user(storage).id
    assert isinstance(begin(storage, other, request=b"another request"), Turn)


def test_while_one_is_at_work_others_are_told_so_and_one_that_failed_leaves_its_place(
    storage: Storage, user_id: str
) -> None:
    held = turn(storage, user_id)
    with pytest.raises(RequestUnderWay):
        begin(storage, user_id)
    with storage.database.session() as session:
        idempotency.give_back(session, held)
    assert isinstance(begin(storage, user_id), Turn)


def test_of_many_at_once_one_has_the_turn(storage: Storage, user_id: str) -> None:
    def ask(_: int) -> str:
        try:
            return type(begin(storage, user_id)).__name__
        except RequestUnderWay:
            return "told so"

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(ask, range(12))) == ["Turn"] + ["told so"] * 11


def test_a_turn_whose_process_died_is_taken_over_and_whoever_was_only_slow_changes_nothing(
    storage: Storage, user_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = turn(storage, user_id)
    pass_time(monkeypatch, CLAIM_S - 1)
    with pytest.raises(RequestUnderWay):
        begin(storage, user_id)
    pass_time(monkeypatch, 2)
    second = turn(storage, user_id)

    def make_slowly() -> None:
        with storage.database.session() as session:
            voices.create_voice(session, user_id, "made by the slow one")
            idempotency.keep(session, storage.keys, slow, MADE)

    with pytest.raises(RequestUnderWay):
        make_slowly()
    with storage.database.session() as session:
        idempotency.give_back(session, slow)  # not its own any more
        assert [voice.name for voice in voices.list_voices(session, user_id)] == ["My voice"]
    keep(storage, second)
    assert begin(storage, user_id) == MADE
    with storage.database.session() as session:
        idempotency.give_back(session, second)
    assert begin(storage, user_id) == MADE, "what was done stays"


def test_work_that_is_rolled_back_has_no_answer(storage: Storage, user_id: str) -> None:
    held = turn(storage, user_id)

    def break_off() -> None:
        with storage.database.session() as session:
            idempotency.keep(session, storage.keys, held, MADE)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    with pytest.raises(RequestUnderWay):
        begin(storage, user_id)


def test_nothing_of_it_is_in_the_clear_and_no_other_account_can_open_it(storage: Storage, user_id: str) -> None:
    keep(storage, turn(storage, user_id), Answer(201, b"zanzibarquokka"))
    other = factories.make_user(storage).id
    keep(storage, turn(storage, other), Answer(201, b"else"))
    with storage.database.session() as session:
        row, foreign = (
            session.scalars(select(IdempotencyKey).where(IdempotencyKey.user_id == owner)).one()
            for owner in (user_id, other)
        )
        assert not any(word in repr(vars(row)) for word in (NAME, REQUEST.decode(), "zanzibarquokka"))
        assert (row.key_mac, row.request_mac) != (foreign.key_mac, foreign.request_mac)
        row.answer_sealed = foreign.answer_sealed
    with pytest.raises(IntegrityError):
        begin(storage, user_id)


def test_an_account_has_so_many_and_so_much(storage: Storage, user_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MAX_KEYS", 2)
    keep(storage, turn(storage, user_id, "1"))
    turn(storage, user_id, "2")
    with pytest.raises(LimitReached, match="without one"):
        begin(storage, user_id, "3")
    assert begin(storage, user_id, "1") == MADE
    monkeypatch.setattr(idempotency, "MAX_KEYS", 100)
    monkeypatch.setattr(idempotency, "MAX_ANSWER_BYTES", len(MADE.body))
    with pytest.raises(LimitReached):
        begin(storage, user_id, "3")
    assert isinstance(begin(storage, factories.make_user(storage).id), Turn)


def test_what_has_expired_is_forgotten(storage: Storage, user_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(storage, turn(storage, user_id, "old"))
    pass_time(monkeypatch, KEPT_S / 2)
    keep(storage, turn(storage, user_id, "new"))
    pass_time(monkeypatch, KEPT_S / 2 + 1)
    with storage.database.session() as session:
        idempotency.forget_expired(session)
        assert session.execute(text("SELECT count(*) FROM idempotency_keys")).scalar_one() == 1
    assert begin(storage, user_id, "new") == MADE


def test_nobody_is_left_to_begin_for_once_an_account_is_erased(storage: Storage, user_id: str) -> None:
    users.erase_user(storage, user_id, user_id)
    with pytest.raises(KeyErased):
        begin(storage, user_id)
    storage.keys.create(user_id)
    with pytest.raises(NotFound):
        begin(storage, user_id)
