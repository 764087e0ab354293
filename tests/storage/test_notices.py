"""Who wants to be told that a training has ended, and that they are."""

import pytest
from sqlalchemy import select

from storage import audit, deliveries, notices, prefixes, run_claims, tuning_runs
from storage.errors import InvalidWebhook
from storage.models import Delivery, NoticeSettings, TuningRun, User
from storage.notices import Notices
from storage.store import Storage
from tests import factories

URL = "https://example.org/hooks/1?token=hidden"


def save(storage: Storage, user: User, *, by_mail: bool = False, webhook_url: str = "") -> Notices:
    with storage.database.session() as session:
        return notices.save(session, storage.keys, user.id, by_mail=by_mail, webhook_url=webhook_url)


def read(storage: Storage, user: User) -> Notices:
    with storage.database.reading() as session:
        return notices.read(session, storage.keys, user.id)


def told(storage: Storage, run: TuningRun) -> list[str]:
    """The ways by which the run's end is told of."""
    with storage.database.reading() as session:
        rows = session.scalars(select(Delivery).where(Delivery.run_id == run.id, Delivery.kind == "run_ended"))
        return sorted(row.channel for row in rows)


def test_nobody_is_told_who_did_not_ask(storage: Storage) -> None:
    user = factories.make_user(storage)
    assert read(storage, user) == Notices()
    run = factories.make_run(storage, user, factories.first_voice(storage, user))
    with storage.database.session() as session:
        run_claims.finish(session, factories.claim_run(storage, run), state="failed")
    assert told(storage, run) == []


def test_what_was_asked_for_is_kept_sealed_and_changed(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    first = save(storage, user, by_mail=True, webhook_url=URL)
    assert first == read(storage, user)
    assert first.webhook is not None
    assert first.webhook.secret.startswith("whsec_")
    assert save(storage, user, webhook_url=URL).webhook == first.webhook
    second = save(storage, user, webhook_url=f"{URL}2").webhook
    assert second is not None
    assert second.secret != first.webhook.secret
    with storage.database.reading() as session:
        sealed = session.scalars(select(NoticeSettings.webhook_sealed)).one()
        assert sealed is not None
        assert b"example.org" not in sealed
        events = audit.list_events(session, action="user.set_notices")
        assert "example.org" not in repr([event.detail for event in events])
    assert read(storage, other) == Notices()
    save(storage, user)
    assert read(storage, user) == Notices()


def end(storage: Storage, run: TuningRun, way: str) -> None:
    """End a run in one of the ways that there are."""
    if way == "cancelled while it waits":
        with storage.database.session() as session:
            tuning_runs.cancel_run(session, user_id=run.user_id, run_id=run.id, actor_id=run.user_id)
        return
    held = factories.start_run(storage, run)
    if way == "published":
        prefixes.publish_prefix(storage, held, data=b"x", base_fingerprint="f", num_virtual_tokens=1, figures={})
    elif way == "cancelled by its worker":
        with storage.database.session() as session:
            tuning_runs.cancel_run(session, user_id=run.user_id, run_id=run.id, actor_id=run.user_id)
            run_claims.stop(session, held)
    elif way == "given up":
        for _ in range(3):
            with storage.database.session() as session:
                session.execute(TuningRun.__table__.update().values(lease_until=1.0))
                run_claims.claim(session, run.id, worker="w", lease_s=60, max_attempts=3)
    else:
        with storage.database.session() as session:
            run_claims.finish(session, held, state="failed" if way == "failed" else "succeeded", published=False)


@pytest.mark.parametrize(
    "way",
    ["published", "not published", "failed", "given up", "cancelled by its worker", "cancelled while it waits"],
)
def test_every_end_is_told_of_once_by_each_way(storage: Storage, way: str) -> None:
    user = factories.make_user(storage)
    save(storage, user, by_mail=True, webhook_url=URL)
    run = factories.make_run(storage, user, factories.first_voice(storage, user))
    assert told(storage, run) == []
    end(storage, run, way)
    assert told(storage, run) == ["mail", "webhook"]


def test_what_does_not_end_a_run_is_not_told_of(storage: Storage) -> None:
    user = factories.make_user(storage)
    save(storage, user, by_mail=True)
    run = factories.make_run(storage, user, factories.first_voice(storage, user))
    held = factories.start_run(storage, run)
    with storage.database.session() as session:
        run_claims.release(session, held)
        tuning_runs.pause_run(session, user_id=user.id, run_id=run.id, actor_id=user.id)
        tuning_runs.resume_run(session, user_id=user.id, run_id=run.id, actor_id=user.id)
    assert told(storage, run) == []


def test_a_notice_goes_with_its_run(storage: Storage) -> None:
    user = factories.make_user(storage)
    save(storage, user, by_mail=True)
    run = factories.make_run(storage, user, factories.first_voice(storage, user))
    end(storage, run, "failed")
    with storage.database.session() as session:
        session.delete(session.get_one(TuningRun, run.id))
    with storage.database.reading() as session:
        assert deliveries.newest(session, user.id) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "http://example.org/",
        "ftp://example.org/",
        "https://",
        "https:///path",
        "https://example.org:0/",
        "https://example.org:port/",
        "https://me:secret@example.org/",
        "https://example.org/#part",
        "https://exa mple.org/",
        "https://exämple.org/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://8.8.8.8/",
        "https://example.org/\x00",
        "https://example.org/" + "x" * 2000,
    ],
)
def test_an_address_that_will_not_do_is_explained(url: str) -> None:
    with pytest.raises(InvalidWebhook):
        notices.clean_url(url, inside=False)


def test_good_addresses_are_taken_and_inside_ones_where_that_is_set() -> None:
    assert notices.clean_url(f" {URL} ", inside=False) == URL
    for url in ("http://127.0.0.1:8080/x", "http://runner.local/x", "https://[::1]/x"):
        assert notices.clean_url(url, inside=True) == url
