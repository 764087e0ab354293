import re

import pytest

from storage import audit, clock, run_claims, tuning_runs
from storage.models import TuningRun
from tests.app.web.browser import Person
from tests.app.web.training import begin, end, publish
from tests.factories import register_base_model


def run_now(person: Person, run_id: str) -> TuningRun:
    with person.storage.database.session() as session:
        return tuning_runs.get_run(session, person.user.id, run_id)


def waiting(person: Person) -> TuningRun:
    person.add(3)
    return person.run()


def test_runs_of_everybody_are_listed_each_row_a_link(chief: Person, ada: Person, bob: Person) -> None:
    first, second = waiting(ada), waiting(bob)
    page = chief.browser.get("/admin/runs").text
    assert re.findall(r'href="/admin/runs/(run-\w+)"', page) == [second.id, first.id]
    assert ada.user.email in page


def test_the_filter_by_state_lives_in_the_url(chief: Person, ada: Person, bob: Person) -> None:
    queued, running = waiting(ada), begin(bob)
    page = chief.browser.get("/admin/runs?state=running").text
    assert running.run_id in page
    assert queued.id not in page
    assert 'href="/admin/runs?state=running" aria-current="true"' in page
    assert "No run is like that" in chief.browser.get("/admin/runs?state=failed").text


def test_an_unknown_state_shows_all(chief: Person, ada: Person) -> None:
    assert waiting(ada).id in chief.browser.get("/admin/runs?state=flying").text


def test_runs_come_in_pages(chief: Person, ada: Person, bob: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.admin.runs.PAGE", 1)
    first, second = waiting(ada), waiting(bob)
    page = chief.browser.get("/admin/runs?state=queued").text
    assert second.id in page
    assert first.id not in page
    following = re.search(r'rel="next" href="([^"]+)"', page)
    assert following
    page = chief.browser.get(following.group(1).replace("&amp;", "&")).text
    assert first.id in page
    assert "Next page" not in page


def test_a_live_run_shows_its_worker_step_lease_and_curve(chief: Person, ada: Person) -> None:
    claim = begin(ada)
    page = chief.browser.get(f"/admin/runs/{claim.run_id}").text
    for shown in (
        "running",
        "30 of 200",
        "the last by hand",
        "until",
        "<polyline",
        "Cancel the run",
        ada.user.email,
    ):
        assert shown in page, shown


def test_an_ended_run_shows_figures_and_log(chief: Person, ada: Person) -> None:
    publish(ada)
    with ada.storage.database.session() as session:
        (run,) = tuning_runs.list_runs(session, ada.user.id)
        log = [event.message for event in tuning_runs.list_events(session, None, run.id) if event.type == "message"]
    page = chief.browser.get(f"/admin/runs/{run.id}").text
    for shown in ("2.500", "2.200", "12\N{NO-BREAK SPACE}%", "812", "Run it again", *log):
        assert shown in page, shown


def test_a_failed_run_says_why_and_the_overview_points_at_it(chief: Person, ada: Person) -> None:
    claim = begin(ada)
    end(ada, claim, "failed", error_code="base_model", error_message="The base model could not be loaded.")
    page = chief.browser.get(f"/admin/runs/{claim.run_id}").text
    assert "The base model could not be loaded." in page
    assert "One run failed within a day" in chief.browser.get("/admin/").text


def test_a_waiting_run_is_cancelled_at_once_and_recorded(chief: Person, ada: Person) -> None:
    run = waiting(ada)
    page = chief.browser.post(f"/admin/runs/{run.id}/cancel", follow_redirects=True)
    assert "Cancelled" in page.text
    assert run_now(ada, run.id).state == "cancelled"
    with chief.storage.database.session() as session:
        (event,) = audit.list_events(session, action="run.cancelled")
    assert (event.actor_id, event.subject_id) == (chief.user.id, run.id)


def test_a_running_run_is_asked_to_stop(chief: Person, ada: Person) -> None:
    claim = begin(ada)
    page = chief.browser.post(f"/admin/runs/{claim.run_id}/cancel", follow_redirects=True)
    assert "Cancelling" in page.text
    assert run_now(ada, claim.run_id).cancel_requested


def test_a_paused_run_is_seen_and_can_be_cancelled(chief: Person, ada: Person) -> None:
    claim = begin(ada)
    with ada.storage.database.session() as session:
        tuning_runs.pause_run(session, user_id=ada.user.id, run_id=claim.run_id, actor_id=ada.user.id)
    assert "pause asked for" in chief.browser.get("/admin/runs").text
    with ada.storage.database.session() as session:
        run_claims.stop(session, claim)
    assert claim.run_id in chief.browser.get("/admin/runs?state=paused").text
    page = chief.browser.post(f"/admin/runs/{claim.run_id}/cancel", follow_redirects=True)
    assert "Cancelled" in page.text
    assert run_now(ada, claim.run_id).state == "cancelled"


def test_cancelling_what_has_ended_is_a_sentence_and_changes_nothing(chief: Person, ada: Person) -> None:
    run = waiting(ada)
    for _ in range(2):
        page = chief.browser.post(f"/admin/runs/{run.id}/cancel", follow_redirects=True)
    assert "has ended already" in page.text
    with chief.storage.database.session() as session:
        assert len(audit.list_events(session, action="run.cancelled")) == 1


def test_running_again_makes_a_new_run_kept_while_the_queue_is_down(chief: Person, ada: Person) -> None:
    run = waiting(ada)
    chief.browser.post(f"/admin/runs/{run.id}/cancel")
    page = chief.browser.post(f"/admin/runs/{run.id}/retry", follow_redirects=True)
    assert "the run starts when it does" in page.text
    with chief.storage.database.session() as session:
        newest, oldest = tuning_runs.list_runs(session, ada.user.id)
        (event,) = audit.list_events(session, action="run.retried")
    assert (newest.state, oldest.id) == ("queued", run.id)
    assert (event.actor_id, event.subject_id, event.detail) == (chief.user.id, newest.id, {"of": run.id})


def test_a_live_run_is_not_run_again(chief: Person, ada: Person) -> None:
    run = waiting(ada)
    page = chief.browser.post(f"/admin/runs/{run.id}/retry", follow_redirects=True)
    assert "still going on" in page.text
    with chief.storage.database.session() as session:
        assert len(tuning_runs.list_runs(session, ada.user.id)) == 1


def test_a_run_whose_samples_are_gone_is_not_run_again_and_says_why(chief: Person, ada: Person) -> None:
    run = waiting(ada)
    chief.browser.post(f"/admin/runs/{run.id}/cancel")
    for sample in run.sample_ids:
        ada.browser.post(f"{ada.url}/samples/{sample}/delete")
    page = chief.browser.post(f"/admin/runs/{run.id}/retry", follow_redirects=True)
    assert 'role="alert"' in page.text
    assert "Asked for again" not in page.text


def test_runs_are_narrowed_down_by_owner_model_and_cause_in_the_url(
    chief: Person, auditor: Person, ada: Person, bob: Person
) -> None:
    register_base_model(chief.storage)
    queued, claim = waiting(ada), begin(bob)
    end(bob, claim, "failed", error_code="gave_up", error_message="Given up.")

    def shown(query: str) -> list[str]:
        return re.findall(
            r'row-link mono" href="/admin/runs/(run-\w+)"', auditor.browser.get(f"/admin/runs?{query}").text
        )

    assert shown("user=ADA@example.org") == shown(f"user={ada.user.id}") == [queued.id]
    assert shown("cause=gave_up") == shown("state=failed&within=day") == [claim.run_id]
    assert shown("user=nobody@example.org") == shown("cause=internal") == shown("model=abc") == []
    assert shown("within=ever&state=flying") == [claim.run_id, queued.id]
    page = auditor.browser.get("/admin/runs?cause=gave_up&user=bob@example.org").text
    assert 'href="/admin/runs?user=bob@example.org&amp;cause=gave_up&amp;state=failed"' in page.replace("%40", "@")
    assert '<option value="gave_up" selected>' in page
    assert "1 run of this kind" in page


def test_a_run_names_its_base_model_and_leads_to_its_others(chief: Person, ada: Person) -> None:
    register_base_model(chief.storage, fingerprint="a" * 64)
    ada.add(3)
    run = ada.run()
    assert "not begun" in chief.browser.get(f"/admin/runs/{run.id}").text
    with chief.storage.database.session() as session:
        held = run_claims.claim(session, run.id, worker="w", lease_s=60, max_attempts=3)
        assert held is not None
        run_claims.start_running(session, held, 10, base_fingerprint="a" * 64)
    assert f'href="/admin/runs?model={"a" * 64}">idiolect-base</a>' in chief.browser.get(f"/admin/runs/{run.id}").text
    assert run.id in chief.browser.get(f"/admin/runs?model={'a' * 64}").text


def test_an_operator_takes_a_run_back_from_its_worker_once(operator: Person, ada: Person) -> None:
    claim = begin(ada)
    page = f"/admin/runs/{claim.run_id}"
    assert "Take it back from its worker" in operator.browser.get(page).text
    done = operator.browser.post(f"{page}/rescue", follow_redirects=True).text
    assert "In the queue again" in done
    assert "Take it back from its worker" not in done
    assert "An administrator took the run back" in done
    assert run_now(ada, claim.run_id).state == "queued"
    assert "nothing to take back" in operator.browser.post(f"{page}/rescue", follow_redirects=True).text


def test_a_runs_measurements_are_there_to_be_opened(chief: Person, ada: Person) -> None:
    claim = begin(ada)
    page = chief.browser.get(f"/admin/runs/{claim.run_id}").text
    assert "Measurements (3)" in page
    assert '<td data-label="Held-out loss" class="right">2.410</td>' in page


def test_failures_are_counted_by_cause_and_each_number_leads_to_its_runs(
    chief: Person, auditor: Person, ada: Person, bob: Person
) -> None:
    assert "No training has failed so far" in auditor.browser.get("/admin/failures").text
    end(ada, begin(ada), "failed", error_code="gave_up", error_message="Given up.")
    end(bob, begin(bob), "succeeded", published=False)
    page = auditor.browser.get("/admin/failures").text
    assert "gave up</span>" in page
    assert "No failure: the voice was no closer" in page
    for cause in ("gave_up", "not_published"):
        assert f'<a href="/admin/runs?cause={cause}&amp;within=day">1</a>' in page
        assert len(re.findall(r"row-link mono", auditor.browser.get(f"/admin/runs?cause={cause}&within=day").text)) == 1


def test_the_overview_leads_to_the_very_runs_it_counts(
    chief: Person, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = begin(ada)
    later = clock.now() + 3600
    monkeypatch.setattr(clock, "now", lambda: later)
    page = chief.browser.get("/admin/").text
    assert 'href="/admin/runs?state=lost">Look</a>' in page
    assert claim.run_id in chief.browser.get("/admin/runs?state=lost").text
    assert claim.run_id in chief.browser.get("/admin/runs?state=training").text


def test_states_are_named_in_plain_words(chief: Person, ada: Person) -> None:
    run = waiting(ada)
    with ada.storage.database.session() as session:
        assert run_claims.claim(session, run.id, worker="hand", lease_s=60, max_attempts=3)
    for path in ("/admin/runs", f"/admin/runs/{run.id}", "/admin/"):
        page = chief.browser.get(path).text
        assert "claimed by a worker" in page
        assert ">leased<" not in page
    assert 'href="/admin/runs?state=committing">being put to use</a>' in chief.browser.get("/admin/runs").text


def test_the_log_of_a_run_has_its_times_to_the_second(chief: Person, ada: Person) -> None:
    publish(ada)
    with ada.storage.database.session() as session:
        run_id = ada.newest_run_id(session)
    for person, path in ((chief, f"/admin/runs/{run_id}"), (ada, f"/runs/{run_id}")):
        assert re.search(r'<time datetime="[^"]+" data-seconds>', person.browser.get(path).text)
