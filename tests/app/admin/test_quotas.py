import pytest

from storage import audit, quotas, samples, voices
from tests.app.web.browser import Person


def own(person: Person) -> dict[str, int | None]:
    with person.storage.database.reading() as session:
        return {**quotas.own_numbers(session, person.user.id)}


def test_an_owner_sets_quotas_and_the_person_and_every_administrator_see_them(
    chief: Person, auditor: Person, ada: Person
) -> None:
    url = f"/admin/users/{ada.user.id}/quotas"
    form = chief.browser.get(url).text
    assert "The platform&#39;s settings say 20" in form or "The platform's settings say 20" in form
    page = chief.browser.post(f"{url}/set", {"voices": "1", "samples": "1,234", "runs": " "}, follow_redirects=True)
    assert "from their next request on" in page.text
    assert own(ada) == {"voices": 1, "samples": 1234, "stored_mb": None, "runs": None, "tokens_per_day": None}
    for seen in (auditor.browser.get(f"/admin/users/{ada.user.id}"), ada.browser.get("/account/limits")):
        assert "1,234" in seen.text
    assert "Set other quotas" not in auditor.browser.get(f"/admin/users/{ada.user.id}").text
    assert "/account/limits" in ada.browser.get("/account").text
    refused = ada.browser.post("/voices", {"name": "Letters"})
    assert refused.status_code == 422
    assert "may have 1 voice and has 1" in refused.text
    assert "an owner of this platform can allow you more" in refused.text
    with chief.storage.database.reading() as session:
        (event,) = audit.list_events(session, action="user.quotas_changed")
    assert (event.actor_id, event.subject_id) == (chief.user.id, ada.user.id)


@pytest.mark.parametrize("typed", ["many", "-1", "1.5", "99999999999"])
def test_what_is_no_number_is_kept_for_mending_and_changes_nothing(chief: Person, ada: Person, typed: str) -> None:
    answer = chief.browser.post(f"/admin/users/{ada.user.id}/quotas/set", {"voices": typed, "runs": "3"})
    assert answer.status_code == 422
    assert "Nothing was changed" in answer.text
    assert f'value="{typed}"' in answer.text
    assert own(ada)["runs"] is None


def test_a_training_beyond_the_quota_is_told_on_the_voices_page(chief: Person, ada: Person) -> None:
    chief.browser.post(f"/admin/users/{ada.user.id}/quotas/set", {"runs": "1", "voices": "2"})
    ada.add(3)
    ada.run()
    ada.browser.post("/voices", {"name": "Letters"})
    with ada.storage.database.session() as session:
        second = voices.list_voices(session, ada.user.id)[1]
        for number in range(3):
            samples.add_sample(
                session,
                ada.storage.keys,
                user_id=ada.user.id,
                voice_id=second.id,
                text=f"Letter {number}. " + "One learns how many spoons one owns, and none of them match. " * 4,
            )
    page = ada.browser.post(f"/voices/{second.id}/tuning", follow_redirects=True)
    assert "1 training waiting, paused or under way" in page.text
    assert "Train this voice" in page.text
