import re
import time
from collections.abc import Callable

import httpx
import pytest
from flask import Flask
from sqlalchemy import update
from werkzeug.test import TestResponse

from app.seats import MAX_EVENT_STREAMS, Seats
from app.web import run_report
from app.web import tuning as tuning_pages
from storage import run_claims, tuning_runs, users, workers
from storage.models import PrefixVersion, TuningRun
from storage.run_times import LEAST_ENDED
from tests.app.web.browser import Person
from tests.app.web.serving import listening
from tests.app.web.training import FIGURES, begin, end, measured, publish
from tests.app.web.upstream import PATIENCE_S
from tests.factories import FINGERPRINT, SAMPLE_TEXTS, register_base_model


@pytest.fixture(autouse=True)
def _no_endless_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning_pages, "LONGEST_S", 20.0)


def newest(person: Person) -> TuningRun:
    with person.storage.database.session() as session:
        return tuning_runs.list_runs(session, person.user.id, person.voice.id, limit=1)[0]


def test_asking_too_early_says_what_is_missing(ada: Person) -> None:
    done = ada.browser.post(f"{ada.url}/tuning", follow_redirects=True)
    assert 'role="alert"' in done.text
    with ada.storage.database.session() as session:
        assert tuning_runs.list_runs(session, ada.user.id) == []


def test_a_request_is_kept_when_the_queue_is_down(ada: Person) -> None:
    ada.add(3)
    page = ada.browser.post(f"{ada.url}/tuning", follow_redirects=True)
    assert "Your request is kept" in page.text
    assert "next in the queue" in page.text
    assert newest(ada).state == "queued"


def test_asking_twice_is_one_run(ada: Person) -> None:
    ada.add(3)
    ada.browser.post(f"{ada.url}/tuning")
    ada.browser.post(f"{ada.url}/tuning")
    with ada.storage.database.session() as session:
        assert len(tuning_runs.list_runs(session, ada.user.id)) == 1


def test_the_place_in_the_queue_is_said(ada: Person, bob: Person) -> None:
    bob.add(3)
    bob.run()
    ada.add(3)
    ada.run()
    assert "second in the queue" in ada.browser.get(ada.url).text


def trained_before(ada: Person, bob: Person, seconds: float) -> None:
    """A worker lives, and trainings of Bob's have taken so long."""
    register_base_model(ada.storage)
    for _ in range(LEAST_ENDED):
        publish(bob)
    took = {"started_at": TuningRun.finished_at - seconds, "base_fingerprint": FINGERPRINT}
    with ada.storage.database.session() as session:
        session.execute(update(TuningRun).values(took))
        session.execute(update(PrefixVersion).values(report_sealed=b"made already"))
        workers.beat(session, "hand")


def test_who_waits_is_told_for_how_long_once_there_is_something_to_tell_it_from(ada: Person, bob: Person) -> None:
    ada.add(3)
    ada.run()
    assert "It starts by itself when a worker is free. You can leave this page." in ada.browser.get(ada.url).text
    trained_before(ada, bob, 118.0)
    page = ada.browser.get(ada.url).text
    assert "when a worker is free, and then takes about 2 min, as trainings here did lately." in page
    begin(bob)  # 40 seconds are left of it
    page = ada.browser.get(ada.url).text
    assert "It starts by itself in about 40 s, and then takes about 2 min, as trainings here did lately." in page


def test_before_the_first_training_its_length_is_told_by_those_of_lately(ada: Person, bob: Person) -> None:
    ada.add(3)
    assert "Training usually takes less than a few minutes. It learns" in ada.browser.get(ada.url).text
    trained_before(ada, bob, 11.0)
    assert "Training takes about 11 s, as trainings here did lately. It learns" in ada.browser.get(ada.url).text


def test_a_page_that_waits_is_told_anew_though_the_run_does_not_change(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.add(3)
    run = ada.run()
    seen = []
    for seconds in (0, 1, 16):
        monkeypatch.setattr("storage.clock.now", lambda at=1_800_000_000 + seconds: at)
        with ada.storage.database.reading() as session:
            seen.append(run_report.mark(session, ada.user.id, run.id))
    assert seen[0] == seen[1] != seen[2]


def test_a_queued_run_is_taken_back_at_once(ada: Person) -> None:
    ada.add(3)
    run = ada.run()
    done = ada.browser.post(f"/runs/{run.id}/cancel", follow_redirects=True)
    assert newest(ada).state == "cancelled"
    assert "You stopped this training" in done.text
    assert "Train again" in done.text


def test_a_training_run_shows_step_curve_and_time_left_without_any_script(ada: Person) -> None:
    begin(ada)
    page = ada.browser.get(ada.url).text
    assert "step 30 of 200" in page
    assert "About 40 s left" in page
    assert "<polyline" in page
    assert "base model" in page
    assert '<meta http-equiv="refresh"' in page


def test_a_training_run_is_stopped_after_its_step(ada: Person) -> None:
    claim = begin(ada)
    done = ada.browser.post(f"/runs/{claim.run_id}/cancel", follow_redirects=True)
    assert "Stopping after the present step" in done.text
    with ada.storage.database.session() as session:
        assert run_claims.heartbeat(session, claim, 60) == "cancel"


def test_a_training_run_is_paused_after_its_step_and_resumed(ada: Person) -> None:
    claim = begin(ada)
    done = ada.browser.post(f"/runs/{claim.run_id}/pause", follow_redirects=True)
    assert "Pausing after the present step" in done.text
    assert "Stop training" in done.text
    with ada.storage.database.session() as session:
        run_claims.stop(session, claim)
    page = ada.browser.get(ada.url).text
    assert "Paused at step 30 of 200" in page
    assert "Resume" in page
    assert ">Pause<" not in page
    done = ada.browser.post(f"/runs/{claim.run_id}/resume", follow_redirects=True)
    assert "next in the queue" in done.text
    assert newest(ada).state == "queued"
    assert "Your training goes on when it does" in done.text  # no queue here


def test_anothers_run_is_neither_paused_nor_resumed(ada: Person, bob: Person) -> None:
    claim = begin(bob)
    for what in ("pause", "resume"):
        assert ada.browser.post(f"/runs/{claim.run_id}/{what}").status_code == 404
    assert not newest(bob).pause_requested


def test_an_ended_run_can_no_longer_be_stopped(ada: Person) -> None:
    claim = begin(ada)
    end(ada, claim, "succeeded", published=False, figures=FIGURES)
    page = ada.browser.post(f"/runs/{claim.run_id}/cancel")
    assert page.status_code == 409
    assert "That can&#39;t be done now" in page.text


def test_a_published_version_is_announced_with_both_figures(ada: Person) -> None:
    publish(ada)
    page = ada.browser.get(ada.url).text
    assert "A new version is ready: 12 % closer to you" in page
    assert "2.500 <small>" in page
    assert "2.200 <small>" in page
    assert "Write with this voice" in page


def test_a_run_that_did_not_beat_the_base_model_is_an_honest_page_with_one_button(ada: Person) -> None:
    reason = "On your newest pieces the base model was as close to you."
    claim = begin(ada)
    end(ada, claim, "succeeded", published=False, figures={**FIGURES, "voice_bits_per_char": 2.61, "reason": reason})
    page = ada.browser.get(ada.url).text
    assert "nothing was changed" in page
    assert reason in page
    assert "2.500 <small>" in page
    assert "2.610 <small>" in page
    assert "What would help" in page
    assert "Add samples" in page
    assert "Train a new version" not in page
    assert "Write with this voice" not in page


def test_after_new_samples_that_one_button_trains_again(ada: Person) -> None:
    end(ada, begin(ada), "succeeded", published=False, figures=FIGURES)
    ada.browser.post(f"{ada.url}/samples", {"text": SAMPLE_TEXTS[0]})
    page = ada.browser.get(ada.url).text
    assert "Train again with the samples as they are now" in page
    assert "Add samples" not in page
    ada.browser.post(f"{ada.url}/tuning")
    assert newest(ada).state == "queued"


def test_a_failed_run_says_why_and_offers_another(ada: Person) -> None:
    claim = begin(ada)
    end(ada, claim, "failed", error_code="gave_up", error_message="The worker stopped three times.")
    page = ada.browser.get(ada.url).text
    assert "The worker stopped three times." in page
    assert "Train again" in page


def test_one_run_can_be_read_from_request_to_result(ada: Person) -> None:
    publish(ada)
    page = ada.browser.get(f"/runs/{newest(ada).id}").text
    assert "Learned from" in page
    assert "812 tokens" in page
    assert "Shared start" in page
    assert "2.450" in page
    assert "bits a character of the same text" in page
    assert "812 tokens" in page
    assert "What happened" in page


def frames(person: Person, run_id: str) -> str:
    return person.browser.get(f"/runs/{run_id}/events").text


def test_events_of_an_ended_run_close_at_once(ada: Person) -> None:
    claim = begin(ada)
    end(ada, claim, "cancelled")
    text = frames(ada, claim.run_id)
    assert text.startswith("event: progress\ndata: ")
    assert text.endswith("event: ended\ndata: \n\n")


def test_events_follow_the_run_to_its_end(ada: Person) -> None:
    claim = begin(ada, steps=1)
    stream = iter(ada.browser.client.get(f"/runs/{claim.run_id}/events", buffered=False).response)
    for number in range(1, 4):
        assert f"step {10 * number} of 200".encode() in next(stream)
        with ada.storage.database.session() as session:
            run_claims.record_progress(session, claim, 10 * (number + 1), measured(number))
    next(stream)
    end(ada, claim, "succeeded", published=False, figures=FIGURES)
    last, ended = list(stream)
    assert b"nothing was changed" in last
    assert ended == b"event: ended\ndata: \n\n"


def standing(person: Person) -> list[str]:
    return re.findall(r'<small id="voice-says">([^<]*)</small>', person.browser.get(person.url).text)


def test_the_step_says_whether_it_waits_or_trains(ada: Person, bob: Person) -> None:
    ada.add(3)
    run_id = ada.run().id
    assert standing(ada) == ["waiting to train"]
    ada.browser.post(f"/runs/{run_id}/pause")
    assert standing(ada) == ["paused"]
    claim = begin(bob)
    assert standing(bob) == ["in training"]
    end(bob, claim, "cancelled")
    assert standing(bob) == ["ready to train"]


def test_events_have_the_type_that_browsers_stream(ada: Person) -> None:
    claim = begin(ada)
    end(ada, claim, "cancelled")
    answer = ada.browser.get(f"/runs/{claim.run_id}/events")
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_open_stream_pings_and_ends_when_the_person_is_suspended(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning_pages, "PING_S", 0.05)
    monkeypatch.setattr(tuning_pages, "CHECK_S", 0.05)
    claim = begin(ada)
    answer = ada.browser.client.get(f"/runs/{claim.run_id}/events", buffered=False)
    stream = iter(answer.response)
    assert b"event: progress" in next(stream)
    assert next(stream) == b": ping\n\n"
    with ada.storage.database.session() as session:
        users.set_state(session, ada.user.id, "suspended")
    assert b"ended" not in b"".join(stream)


def test_a_stream_that_always_has_something_to_say_still_ends_when_the_person_is_suspended(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning_pages, "CHECK_S", 0.0)
    claim = begin(ada)
    stream = iter(ada.browser.client.get(f"/runs/{claim.run_id}/events", buffered=False).response)
    assert b"event: progress" in next(stream)
    with ada.storage.database.session() as session:
        users.set_state(session, ada.user.id, "suspended")
        run_claims.record_progress(session, claim, 40, measured(4))
    assert list(stream) == []


def test_an_open_stream_ends_when_its_voice_is_deleted(ada: Person) -> None:
    claim = begin(ada)
    answer = ada.browser.client.get(f"/runs/{claim.run_id}/events", buffered=False)
    stream = iter(answer.response)
    next(stream)
    assert ada.browser.post(f"{ada.url}/delete", {"word": "delete"}).status_code == 302
    assert b"".join(stream) == b"event: ended\ndata: \n\n"


def watch(person: Person, run_id: str) -> TestResponse:
    """Open a stream and leave it open."""
    return person.browser.client.get(f"/runs/{run_id}/events", buffered=False)


def test_a_person_has_so_many_streams_and_no_more_until_one_is_closed(ada: Person, bob: Person) -> None:
    mine, theirs = begin(ada).run_id, begin(bob).run_id
    opened = [watch(ada, mine) for _ in range(MAX_EVENT_STREAMS)]
    assert [stream.status_code for stream in opened] == [200] * MAX_EVENT_STREAMS
    refused = ada.browser.get(f"/runs/{mine}/events")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
    assert "on too many pages" in refused.text
    assert ada.browser.get(f"/runs/{mine}").status_code == 200
    (other := watch(bob, theirs)).close()
    assert other.status_code == 200
    opened.pop().close()
    opened.append(again := watch(ada, mine))
    assert again.status_code == 200
    for stream in opened:
        stream.close()


def test_all_people_together_have_fewer_streams_than_there_are_threads(
    app: Flask, ada: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning_pages, "WEB_EVENT_STREAMS", 1)
    tuning_pages.install(app)
    mine, theirs = begin(ada).run_id, begin(bob).run_id
    opened = watch(bob, theirs)
    refused = ada.browser.get(f"/runs/{mine}/events")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert ada.browser.get(f"/runs/{mine}").status_code == 200
    assert ada.browser.get("/healthz").status_code == 200
    opened.close()
    (again := watch(ada, mine)).close()
    assert again.status_code == 200


def test_a_refused_stream_takes_no_seat(ada: Person, bob: Person) -> None:
    mine = begin(ada).run_id
    for _ in range(MAX_EVENT_STREAMS + 1):
        assert bob.browser.get(f"/runs/{mine}/events").status_code == 404
    (stream := watch(bob, begin(bob).run_id)).close()
    assert stream.status_code == 200


def test_the_seat_of_a_closed_page_is_free_though_the_run_has_nothing_to_say(
    app: Flask, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PING_S", "LONGEST_S"):
        monkeypatch.setattr(tuning_pages, name, 2 * PATIENCE_S)  # too long to be what frees it
    run_id = begin(ada).run_id
    seats: Seats = app.extensions[tuning_pages.SEATS]
    cookie = ada.browser.client.get_cookie("idiolect_session")
    assert cookie is not None
    with listening(app) as url:
        asked = httpx.stream(
            "GET", f"{url}/runs/{run_id}/events", cookies={cookie.key: cookie.value}, timeout=PATIENCE_S
        )
        with asked as answer:
            next(answer.iter_lines())
            assert seats.taken(ada.user.id) == 1
        assert eventually(lambda: seats.taken(ada.user.id) == 0)


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it comes true, given all the time it may need."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()
