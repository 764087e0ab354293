"""A training ends, and its owner hears of it: real rows, a real mail server, a real receiver."""

import json
from collections.abc import Iterator

import pytest
from openai import OpenAI
from sqlalchemy import select, update

from storage import clock, deliveries, notices, run_claims
from storage.models import Delivery, TuningRun, User
from storage.store import Storage
from tests import factories
from tests.mailbox import Mailbox, running_mailbox
from tests.tuning.test_webhook import Receiver, listening
from tuning.config import PostConfig
from tuning.postman import Postman

NAME = "Letters to nobody"


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with running_mailbox() as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as running:
        yield running


@pytest.fixture
def postman(storage: Storage, box: Mailbox) -> Postman:
    url = f"smtp+plain://127.0.0.1:{box.port}"
    here = "https://here.example"
    return Postman(storage, PostConfig(smtp_url=url, mail_from="i@example.org", public_url=here, webhooks_inside="on"))


@pytest.fixture
def ada(storage: Storage, receiver: Receiver) -> User:
    """Somebody who wants to be told by both ways."""
    user = factories.make_user(storage, "ada@example.org")
    with storage.database.session() as session:
        url = f"http://localhost:{receiver.port}/hook"
        notices.save(session, storage.keys, user.id, by_mail=True, webhook_url=url)
    return user


def fail(storage: Storage, run: TuningRun) -> None:
    with storage.database.session() as session:
        run_claims.finish(session, factories.claim_run(storage, run), state="failed", error_code="gave_up")


def hasten(storage: Storage) -> None:
    with storage.database.session() as session:
        session.execute(update(Delivery).where(Delivery.due_at.is_not(None)).values(due_at=clock.now() - 1))


def test_a_published_version_is_told_of_without_a_word_of_the_person(
    storage: Storage, postman: Postman, box: Mailbox, receiver: Receiver, ada: User
) -> None:
    voice = factories.make_voice(storage, ada, NAME)
    version = factories.publish(storage, ada, voice)
    assert postman.carry() == 2
    (letter,) = box.letters
    assert (letter["To"], letter["Subject"]) == ("ada@example.org", "Your voice is trained")
    assert f"https://here.example/runs/{version.run_id}" in letter.get_content()
    ((path, headers, body),) = receiver.came
    assert path == "/hook"
    with storage.database.reading() as session:
        wanted = notices.read(session, storage.keys, ada.id).webhook
    assert wanted is not None
    OpenAI(api_key="none", webhook_secret=wanted.secret).webhooks.verify_signature(body.decode(), headers)
    told = json.loads(body)
    assert told["type"] == "tuning_run.ended"
    assert told["id"] == headers["webhook-id"]
    assert told["data"] == {
        "run": version.run_id,
        "voice": voice.id,
        "state": "succeeded",
        "published": True,
        "version": 1,
        "error_code": None,
        "figures": {"reduction_pct": 4.5},
    }
    for said in (letter.as_string(), body.decode()):
        assert NAME not in said
        assert "ferry" not in said


def test_a_failure_is_told_of_too(
    storage: Storage, postman: Postman, box: Mailbox, receiver: Receiver, ada: User
) -> None:
    fail(storage, factories.make_run(storage, ada, factories.first_voice(storage, ada)))
    postman.carry()
    assert box.letters[0]["Subject"] == "Your training has failed"
    told = json.loads(receiver.came[0][2])
    assert (told["data"]["state"], told["data"]["error_code"]) == ("failed", "gave_up")


def test_a_receiver_that_is_down_gets_it_later_under_the_same_id(
    storage: Storage, postman: Postman, receiver: Receiver, ada: User
) -> None:
    receiver.status = 503
    fail(storage, factories.make_run(storage, ada, factories.first_voice(storage, ada)))
    postman.carry()
    receiver.status = 200
    hasten(storage)
    assert postman.carry() == 1
    hasten(storage)
    assert postman.carry() == 0
    first, second = receiver.came
    assert first[1]["webhook-id"] == second[1]["webhook-id"]
    assert first[2] == second[2]


def test_a_worker_that_died_with_it_in_hand_loses_nothing(
    storage: Storage, postman: Postman, box: Mailbox, receiver: Receiver, ada: User
) -> None:
    fail(storage, factories.make_run(storage, ada, factories.first_voice(storage, ada)))
    for _ in range(2):
        with storage.database.session() as session:
            assert deliveries.claim(session)  # and nothing more is heard of it
    assert postman.carry() == 0
    hasten(storage)
    assert postman.carry() == 2
    assert (len(box.letters), len(receiver.came)) == (1, 1)


def test_what_is_not_wanted_any_more_is_not_sent(
    storage: Storage, postman: Postman, box: Mailbox, receiver: Receiver, ada: User
) -> None:
    fail(storage, factories.make_run(storage, ada, factories.first_voice(storage, ada)))
    with storage.database.session() as session:
        notices.save(session, storage.keys, ada.id, by_mail=False, webhook_url="")
    assert postman.carry() == 2
    assert (box.letters, receiver.came) == ([], [])
    with storage.database.reading() as session:
        assert {(row.error, row.due_at) for row in session.scalars(select(Delivery))} == {("gone", None)}


def test_without_the_setting_nothing_goes_inside(storage: Storage, receiver: Receiver, ada: User) -> None:
    with storage.database.session() as session:
        notices.save(session, storage.keys, ada.id, by_mail=False, webhook_url=f"https://localhost:{receiver.port}/")
    fail(storage, factories.make_run(storage, ada, factories.first_voice(storage, ada)))
    Postman(storage, PostConfig()).carry()
    assert receiver.came == []
    with storage.database.reading() as session:
        assert session.scalars(select(Delivery.error)).all() == ["private_address"]
