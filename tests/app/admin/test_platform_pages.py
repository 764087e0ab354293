import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from celery import Celery
from flask import Flask
from sqlalchemy import text

from app.admin import health
from app.config import AppConfig
from app.web.factory import create_app
from storage import audit, clock, tuning_runs, workers
from storage.models import WorkerHeartbeat
from storage.redis_cache import RedisCache
from storage.store import Storage
from tests.app.web.browser import Person, join
from tests.app.web.training import begin, publish
from tests.factories import register_base_model
from tests.servers import Valkey
from tests.waiting import READS, transactions
from tuning import celery_app


@pytest.fixture
def queue(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A queue that answers, and is empty."""
    valkey.broker.flush()
    monkeypatch.setenv("IDIOLECT_BROKER_URL", valkey.broker_url)
    fresh = Celery("idiolect", set_as_current=False)
    fresh.add_defaults(celery_app._settings)
    monkeypatch.setattr(celery_app, "celery_app", fresh)
    yield
    fresh.close()


@pytest.fixture
def cacheless(storage: Storage) -> Person:
    """The administrator of a platform whose cache does not answer."""
    bundle = replace(storage, cache=RedisCache("redis://127.0.0.1:1/0"))
    return join(create_app(AppConfig(), bundle), bundle, "root@example.org", role="admin")


@pytest.mark.usefixtures("queue")
def test_a_healthy_platform_asks_for_nothing(chief: Person) -> None:
    register_base_model(chief.storage)
    with chief.storage.database.session() as session:
        workers.beat(session, "celery@box")
    page = chief.browser.get("/admin/").text
    assert "nothing is stuck" in page
    assert "Needs a hand" not in page
    assert "idiolect-base" in page


def test_what_does_not_answer_is_named_with_a_way_to_look(cacheless: Person) -> None:
    page = cacheless.browser.get("/admin/").text
    for named in ("No worker gives a sign of life", "broker does not answer", "cache does not answer"):
        assert named in page
    assert 'href="/admin/workers"' in page


def test_a_run_whose_worker_lost_its_lease_is_named(
    chief: Person, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = begin(ada)
    later = clock.now() + 3600
    monkeypatch.setattr(clock, "now", lambda: later)
    assert "One run lost contact with the worker" in chief.browser.get("/admin/").text
    assert "ran out" in chief.browser.get(f"/admin/runs/{claim.run_id}").text


@pytest.mark.usefixtures("queue")
def test_the_queue_tells_its_length(chief: Person) -> None:
    assert celery_app.enqueue_tuning("run-a")
    assert celery_app.enqueue_tuning("run-b")
    assert "2 messages not yet fetched" in chief.browser.get("/admin/workers").text


def test_workers_show_their_run_and_who_is_silent(chief: Person, ada: Person) -> None:
    claim = begin(ada)
    with chief.storage.database.session() as session:
        workers.beat(session, "celery@awake", claim.run_id)
        workers.beat(session, "celery@asleep")
        session.get_one(WorkerHeartbeat, "celery@asleep").last_seen_at -= 3600
    page = chief.browser.get("/admin/workers").text
    assert f'href="/admin/runs/{claim.run_id}">celery@awake</a>' in page
    assert page.count(">silent</span>") == 1
    assert page.count(">well</span>") == 1


def test_a_worker_that_will_not_come_back_is_forgotten_and_that_is_recorded(chief: Person) -> None:
    with chief.storage.database.session() as session:
        workers.beat(session, "celery@asleep")
        session.get_one(WorkerHeartbeat, "celery@asleep").last_seen_at -= 3600
    for _ in range(2):
        page = chief.browser.post("/admin/workers/celery@asleep/forget", follow_redirects=True)
    assert "celery@asleep" not in page.text
    with chief.storage.database.session() as session:
        (event,) = audit.list_events(session, action="worker.forgotten")
    assert (event.actor_id, event.subject_id) == (chief.user.id, "celery@asleep")


def test_workers_are_sorted_as_the_url_says(chief: Person) -> None:
    with chief.storage.database.session() as session:
        for name in ("b", "a", "c"):
            workers.beat(session, f"celery@{name}")

    def order(query: str) -> str:
        return "".join(re.findall(r"celery@([abc])\b", chief.browser.get(f"/admin/workers{query}").text))

    assert order("") == order("?sort=name") == order("?sort=nonsense") == "abc"
    assert order("?sort=-name") == "cba"
    assert order("?sort=started") == "bac"
    assert 'aria-sort="descending"' in chief.browser.get("/admin/workers?sort=-name").text


def test_cache_figures_are_those_of_the_server(chief: Person) -> None:
    chief.storage.cache.put("prefix:a", b"sealed", 60)
    for name in ("hits", "hits", "hits", "misses", "warmed", "warmed"):
        chief.storage.cache.count(name)
    page = chief.browser.get("/admin/cache").text
    assert "75\N{NO-BREAK SPACE}%" in page
    assert re.search(r"<dt>Entries</dt><dd>1<", page)
    assert re.search(r"<dt>Brought ahead</dt><dd>2<", page)
    assert "prefix:a" not in page


def test_a_silent_cache_says_what_goes_on_and_what_to_do(cacheless: Person) -> None:
    page = cacheless.browser.get("/admin/cache").text
    assert "goes on from the database" in page
    assert "IDIOLECT_CACHE_URL" in page


def test_base_models_show_what_the_probe_found_and_which_is_in_use(chief: Person) -> None:
    probe = {"cache_class": "DynamicCache", "logits_differ": True, "seconds": 0.4}
    register_base_model(chief.storage, "older", "0" * 64, num_parameters=5, probe=probe)
    register_base_model(chief.storage, probe=probe)
    page = chief.browser.get("/admin/base-models").text
    assert page.count('<span class="tag tag-on">in use</span>') == 1
    for shown in ("22,029,696", "1,152 tokens", "DynamicCache", "Logits differ", "f" * 64):
        assert shown in page, shown
    assert re.findall(r">(older|idiolect-base)</a>", page) == ["idiolect-base", "older"]
    by_size = chief.browser.get("/admin/base-models?sort=parameters").text
    assert re.findall(r">(older|idiolect-base)</a>", by_size) == ["older", "idiolect-base"]


def test_after_a_change_of_model_one_action_asks_for_every_voice_of_the_other_one(chief: Person, ada: Person) -> None:
    register_base_model(chief.storage, fingerprint="1" * 64)
    assert "of another model" not in chief.browser.get("/admin/base-models").text
    publish(ada)
    page = chief.browser.get("/admin/base-models").text
    assert "1 voice is of another model" in page
    assert "answered with an error that says so" in page
    assert ada.browser.post("/admin/base-models/retraining").status_code == 404
    told = chief.browser.post("/admin/base-models/retraining", follow_redirects=True).text
    assert "1 training was asked for. The queue is not answering; they start when it does." in told
    assert "of another model" not in told.partition("<h1>")[2].replace("trained on", "")
    with ada.storage.database.reading() as session:
        (run, *_) = tuning_runs.list_runs(session, ada.user.id)
    assert run.state == "queued"
    again = chief.browser.post("/admin/base-models/retraining", follow_redirects=True).text
    assert "0 trainings were asked for." in again


def test_empty_pages_say_the_next_step(chief: Person) -> None:
    assert "Nobody has asked for a training yet" in chief.browser.get("/admin/runs").text
    assert "celery -A tuning.celery_app worker" in chief.browser.get("/admin/workers").text
    assert "None is registered yet" in chief.browser.get("/admin/base-models").text


def test_the_audit_trail_is_filtered_and_paged_by_the_url(
    chief: Person, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.admin.audit.PAGE", 2)
    with chief.storage.database.session() as session:
        for number in range(3):
            audit.record(session, "user.suspended", actor_id=chief.user.id, subject_id=ada.user.id, number=number)
        audit.record(session, "run.cancelled", subject_id="run-1")
    first = chief.browser.get("/admin/audit?action=user.suspended").text
    assert re.findall(r'number: <span class="id">(\d)', first) == ["2", "1"]
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    second = chief.browser.get(older.group(1).replace("&amp;", "&")).text
    assert re.findall(r'number: <span class="id">(\d)', second) == ["0"]
    assert "the platform" in chief.browser.get("/admin/audit?action=run.cancelled").text
    assert "Nothing like that was recorded" in chief.browser.get("/admin/audit?by=user-x").text
    assert "run-1" not in chief.browser.get(f"/admin/audit?on={ada.user.id}").text


def test_no_page_shows_what_anybody_wrote(app: Flask, chief: Person, ada: Person) -> None:
    canary = "zephyrine marmalade quorum"
    title = "Canarytitle"
    ada.add(3, f"It was the {canary} of my life, and I wrote it down with care, twice. ")
    ada.browser.post(f"{ada.url}/samples", {"text": f"A piece about {canary}. " * 12, "title": title, "prompt": canary})
    publish(ada)
    seen, waiting = set(), ["/admin/"]
    while waiting:
        path = waiting.pop()
        seen.add(path)
        page = chief.browser.get(path)
        assert page.status_code == 200, path
        assert not re.search(f"{canary}|{title}|idl-[a-z0-9]{{20}}", page.text), path
        links = {link.replace("&amp;", "&") for link in re.findall(r'href="(/admin(?!/static)[^"#]*)', page.text)}
        waiting += sorted(link for link in links if link not in seen and link not in waiting)
    assert len(seen) > 15
    assert canary in ada.browser.get(ada.url).text  # it is there, and its owner sees it


def test_looking_at_the_platform_waits_for_no_writer(storage: Storage) -> None:
    with storage.database.session() as writer:
        writer.execute(text("UPDATE users SET state = state"))
        with transactions(storage.database) as begun:  # the writer goes on until it is over
            assert health.look(storage).cache.reachable
    assert begun == [READS]
