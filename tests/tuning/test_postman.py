"""The postman's turns: real rows, a real mail server."""

import re
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import select, update

from storage import clock, deliveries, password_links, users
from storage.models import Delivery, User
from storage.store import Storage
from tests.factories import make_user
from tests.mailbox import Mailbox, running_mailbox
from tuning.config import PostConfig
from tuning.postman import MOST_A_TURN, Postman


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with running_mailbox() as running:
        yield running


@pytest.fixture
def postman(storage: Storage, box: Mailbox) -> Postman:
    url = f"smtp+plain://127.0.0.1:{box.port}"
    return Postman(storage, PostConfig(smtp_url=url, mail_from="i@example.org", public_url="https://here.example"))


@pytest.fixture
def ada(storage: Storage) -> User:
    return make_user(storage, "ada@example.org")


def ask(storage: Storage, user: User) -> None:
    with storage.database.session() as session:
        assert deliveries.ask_for_reset(session, user.email)


def outcomes(storage: Storage) -> list[tuple[int, str | None, bool, bool]]:
    """Of each delivery: attempts, error, whether it was delivered and whether it is still due."""
    with storage.database.reading() as session:
        rows = session.scalars(select(Delivery).order_by(Delivery.created_at))
        return [(row.attempts, row.error, row.delivered_at is not None, row.due_at is not None) for row in rows]


def hasten(storage: Storage) -> None:
    with storage.database.session() as session:
        session.execute(update(Delivery).where(Delivery.due_at.is_not(None)).values(due_at=clock.now() - 1))


def test_the_letter_holds_a_link_that_works_and_only_its_hash_is_kept(
    storage: Storage, postman: Postman, box: Mailbox, ada: User
) -> None:
    ask(storage, ada)
    assert postman.carry() == 1
    assert postman.carry() == 0
    (letter,) = box.letters
    assert letter["To"] == "ada@example.org"
    found = re.search(r"https://here\.example/password/new\?token=(\S+)", letter.get_content())
    assert found
    with storage.database.reading() as session:
        holder = password_links.holder(session, found.group(1))
        assert holder is not None
        assert holder.id == ada.id
    assert outcomes(storage) == [(1, None, True, False)]


def test_a_letter_that_was_handed_over_by_one_who_died_is_sent_again_under_its_id(
    storage: Storage, postman: Postman, box: Mailbox, ada: User
) -> None:
    ask(storage, ada)
    with storage.database.session() as session:
        assert deliveries.claim(session)  # and nothing more is heard of it
    assert postman.carry() == 0
    hasten(storage)
    assert postman.carry() == 1
    assert [letter["Message-ID"].startswith("<delivery-") for letter in box.letters] == [True]


def test_a_server_that_is_away_is_met_again(storage: Storage, box: Mailbox, postman: Postman, ada: User) -> None:
    ask(storage, ada)
    away = Postman(storage, PostConfig(smtp_url="smtp+plain://127.0.0.1:1", mail_from="i@example.org"))
    assert away.carry() == 1
    assert outcomes(storage) == [(1, "unreachable", False, True)]
    hasten(storage)
    postman.carry()
    assert outcomes(storage) == [(2, None, True, False)]
    assert len(box.letters) == 1


def test_without_a_mail_server_it_waits(storage: Storage, ada: User) -> None:
    ask(storage, ada)
    Postman(storage, PostConfig()).carry()
    assert outcomes(storage) == [(1, "no_mail_server", False, True)]


def test_what_is_asked_for_somebody_suspended_since_is_dropped(
    storage: Storage, postman: Postman, box: Mailbox, ada: User
) -> None:
    ask(storage, ada)
    with storage.database.session() as session:
        users.set_state(session, ada.id, "suspended")
    postman.carry()
    assert outcomes(storage) == [(1, "gone", False, False)]
    assert box.letters == []


def test_one_bad_address_holds_nobody_up(storage: Storage, postman: Postman, box: Mailbox, ada: User) -> None:
    box.refuses = "550 no such mailbox"
    ask(storage, ada)
    assert postman.carry() == 1
    box.refuses = ""
    with storage.database.session() as session:
        deliveries.add(session, make_user(storage, "bob@example.org").id, "password_changed", "mail")
    assert postman.carry() == 1
    assert [letter["To"] for letter in box.letters] == ["bob@example.org"]
    assert outcomes(storage)[0] == (1, "refused", False, False)


def test_a_started_postman_carries_by_itself_and_ends(
    storage: Storage, postman: Postman, box: Mailbox, ada: User
) -> None:
    with storage.database.session() as session:
        for _ in range(3):
            deliveries.add(session, ada.id, "password_changed", "mail")
    assert MOST_A_TURN >= 3
    postman.start()
    while len(box.letters) < 3:  # where none come, the test's own time-out ends this
        time.sleep(0.02)
    postman.stop()
    assert {letter["Subject"] for letter in box.letters} == {"Your password was changed"}


def test_a_letter_that_cannot_even_be_written_keeps_no_other_and_is_not_tried_again(
    storage: Storage, postman: Postman, box: Mailbox, ada: User
) -> None:
    odd = make_user(storage, "odd@example.org")
    for user in (odd, ada):
        ask(storage, user)
    with storage.database.session() as session:
        session.execute(update(User).where(User.id == odd.id).values(email="=?utf-8?q?=0a?=@b.de"))
    assert postman.carry() == 2
    assert [letter["To"] for letter in box.letters] == ["ada@example.org"]
    assert outcomes(storage) == [(1, "broken", False, False), (1, None, True, False)]
