import re

import pytest
from flask import Flask

from storage import api_keys, audit, usage, users
from storage.errors import KeyErased, NotFound
from storage.models import AuditEvent
from storage.store import Storage
from tests.app.web.browser import Person, join
from tests.app.web.training import begin, publish


def trail(storage: Storage, action: str) -> list[AuditEvent]:
    with storage.database.session() as session:
        return audit.list_events(session, action=action)


def state_of(person: Person) -> str:
    with person.storage.database.session() as session:
        return users.get_user(session, person.user.id).state


def test_everybody_is_listed_newest_first_each_row_a_link(chief: Person, ada: Person, bob: Person) -> None:
    page = chief.browser.get("/admin/users").text
    shown = re.findall(r'href="/admin/users/(user-\w+)"', page)
    assert shown == [bob.user.id, ada.user.id, chief.user.id]


def test_search_by_part_of_the_address_lives_in_the_url(chief: Person, ada: Person, bob: Person) -> None:
    page = chief.browser.get("/admin/users?q=ADA").text
    assert "ada@example.org" in page
    assert "bob@example.org" not in page
    assert 'value="ADA"' in page
    assert bob.user.email in chief.browser.get(f"/admin/users?q={bob.user.id}").text


def test_a_search_without_a_hit_says_so_and_shows_the_way_back(chief: Person) -> None:
    page = chief.browser.get("/admin/users?q=nobody").text
    assert "“nobody”" in page
    assert "Show everybody" in page


def test_long_lists_come_in_pages_without_gap_or_repeat(
    app: Flask, chief: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.admin.users.PAGE", 2)
    others = [join(app, chief.storage, f"p{number}@example.org") for number in range(3)]
    seen, page = [], chief.browser.get("/admin/users").text
    for _ in range(3):
        seen += re.findall(r'href="/admin/users/(user-\w+)"', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        page = chief.browser.get(following.group(1)).text if following else ""
    assert seen == [*(person.user.id for person in reversed(others)), chief.user.id]


def test_a_persons_page_shows_figures_keys_voices_and_runs(chief: Person, ada: Person) -> None:
    with ada.storage.database.session() as session:
        key, secret = api_keys.create_key(session, ada.user.id, "laptop")
        place = usage.Place(ada.user.id, usage.today(), key.id, "the-base-model")
        usage.add(session, {place: usage.Counts(2, 4321, 99)})
    publish(ada)
    page = chief.browser.get(f"/admin/users/{ada.user.id}").text
    for shown in (
        ada.user.email,
        "3 samples",
        key.hint,
        "laptop",
        "generate, samples, tuning, read",
        "the-base-model",
        "4,321",
        ada.voice.id,
        "version 1",
        "12\N{NO-BREAK SPACE}%",
        "run-",
    ):
        assert shown in page, shown
    assert secret not in page


def test_suspending_shuts_a_person_out_at_once_and_is_undone(chief: Person, ada: Person) -> None:
    with ada.storage.database.session() as session:
        _, secret = api_keys.create_key(session, ada.user.id, "laptop")
    page = chief.browser.post(f"/admin/users/{ada.user.id}/suspend", follow_redirects=True)
    assert "Let back in" in page.text
    assert state_of(ada) == "suspended"
    assert ada.browser.get("/account").status_code == 302
    with ada.storage.database.session() as session:
        assert api_keys.authenticate(session, secret) is None
    chief.browser.post(f"/admin/users/{ada.user.id}/unsuspend")
    assert state_of(ada) == "active"
    with ada.storage.database.session() as session:
        assert api_keys.authenticate(session, secret) is not None
    for action in ("user.suspended", "user.unsuspended"):
        (event,) = trail(chief.storage, action)
        assert (event.actor_id, event.subject_id) == (chief.user.id, ada.user.id)


def test_doing_what_is_done_already_is_not_recorded_twice(chief: Person, ada: Person) -> None:
    chief.browser.post(f"/admin/users/{ada.user.id}/unsuspend")
    chief.browser.post(f"/admin/users/{ada.user.id}/suspend")
    chief.browser.post(f"/admin/users/{ada.user.id}/suspend")
    assert len(trail(chief.storage, "user.suspended")) == 1
    assert not trail(chief.storage, "user.unsuspended")


def test_erasing_asks_for_the_address_and_keeps_what_was_typed(chief: Person, ada: Person) -> None:
    for typed in ("", "erase", "bob@example.org"):
        page = chief.browser.post(f"/admin/users/{ada.user.id}/erase", {"address": typed})
        assert page.status_code == 422
        assert "Nothing was erased" in page.text
        assert f'value="{typed}"' in page.text
    assert state_of(ada) == "active"


def test_erasing_removes_the_person_and_their_key_and_leaves_a_trace_without_their_address(
    chief: Person, ada: Person
) -> None:
    ada.add(1)
    page = chief.browser.post(
        f"/admin/users/{ada.user.id}/erase", {"address": " Ada@Example.org "}, follow_redirects=True
    )
    assert page.status_code == 200
    assert "Erased" in page.text
    with ada.storage.database.session() as session, pytest.raises(NotFound):
        users.get_user(session, ada.user.id)
    with pytest.raises(KeyErased):
        ada.storage.keys.data_key(ada.user.id)
    (event,) = trail(chief.storage, "user.erased")
    assert (event.actor_id, event.subject_id) == (chief.user.id, ada.user.id)
    everything = chief.browser.get("/admin/audit").text + chief.browser.get("/admin/users").text
    assert ada.user.id in everything
    assert ada.user.email not in everything


def test_a_person_in_training_can_be_erased(chief: Person, ada: Person) -> None:
    begin(ada)
    chief.browser.post(f"/admin/users/{ada.user.id}/erase", {"address": ada.user.email})
    assert chief.browser.get(f"/admin/users/{ada.user.id}").status_code == 404


def test_nobody_suspends_or_erases_themselves(app: Flask, chief: Person) -> None:
    join(app, chief.storage, "second@example.org", role="admin")  # so that it is not about being the last one
    mine = f"/admin/users/{chief.user.id}"
    assert "Erase for good" not in chief.browser.get(mine).text
    assert "your own account" in chief.browser.post(f"{mine}/suspend", follow_redirects=True).text
    assert chief.browser.post(f"{mine}/erase", {"address": chief.user.email}).status_code == 422
    assert state_of(chief) == "active"
    assert not trail(chief.storage, "user.suspended")


def test_another_administrator_can_be_suspended(app: Flask, chief: Person) -> None:
    second = join(app, chief.storage, "second@example.org", role="admin")
    chief.browser.post(f"/admin/users/{second.user.id}/suspend")
    assert state_of(second) == "suspended"


def test_revoking_a_key_stops_it_and_is_recorded_once(chief: Person, ada: Person) -> None:
    with ada.storage.database.session() as session:
        key, secret = api_keys.create_key(session, ada.user.id, "laptop")
    for _ in range(2):
        chief.browser.post(f"/admin/users/{ada.user.id}/keys/{key.id}/revoke")
    with ada.storage.database.session() as session:
        assert api_keys.authenticate(session, secret) is None
    (event,) = trail(chief.storage, "key.revoked")
    assert (event.actor_id, event.subject_id, event.detail) == (chief.user.id, ada.user.id, {"key_id": key.id})


def test_a_key_is_only_found_under_its_owner(chief: Person, ada: Person, bob: Person) -> None:
    with ada.storage.database.session() as session:
        key, _ = api_keys.create_key(session, ada.user.id, "laptop")
    assert chief.browser.post(f"/admin/users/{bob.user.id}/keys/{key.id}/revoke").status_code == 404
    assert not trail(chief.storage, "key.revoked")


def role_of(person: Person) -> str | None:
    with person.storage.database.session() as session:
        return users.get_user(session, person.user.id).console


def give(chief: Person, person: Person, role: str) -> str:
    """What the page says once this role was asked for."""
    answer = chief.browser.post(f"/admin/users/{person.user.id}/role", {"role": role}, follow_redirects=True)
    assert answer.status_code == 200
    return answer.text


def test_a_role_is_given_and_taken_and_each_change_is_recorded_once(chief: Person, ada: Person) -> None:
    assert "Role in the console" in chief.browser.get(f"/admin/users/{ada.user.id}").text
    for _ in range(2):  # the second changes nothing and is not recorded
        give(chief, ada, "operator")
    assert "is an owner here" in give(chief, ada, "owner")
    assert ada.browser.get("/admin/").status_code == 200
    assert "A writer now" in give(chief, ada, "writer")
    assert ada.browser.get("/admin/").status_code == 404
    events = trail(chief.storage, "user.role_changed")
    assert {(event.actor_id, event.subject_id) for event in events} == {(chief.user.id, ada.user.id)}
    assert [event.detail for event in reversed(events)] == [
        {"role": "operator", "was": "writer"},
        {"role": "owner", "was": "operator"},
        {"role": "writer", "was": "owner"},
    ]


def test_a_role_that_is_none_is_refused(chief: Person, ada: Person) -> None:
    for asked in ("admin", "", "Owner"):
        assert chief.browser.post(f"/admin/users/{ada.user.id}/role", {"role": asked}).status_code == 400
    assert role_of(ada) is None


def test_a_suspended_person_is_let_back_in_before_they_get_a_role(chief: Person, ada: Person) -> None:
    theirs = f"/admin/users/{ada.user.id}"
    assert "Change the role" not in chief.browser.post(f"{theirs}/suspend", follow_redirects=True).text
    assert "This person is suspended: nothing was changed. Let them back in first." in give(chief, ada, "auditor")
    assert role_of(ada) is None
    assert not trail(chief.storage, "user.role_changed")
    chief.browser.post(f"{theirs}/unsuspend")
    give(chief, ada, "auditor")
    assert role_of(ada) == "auditor"


def test_a_suspended_administrator_can_be_made_a_writer(app: Flask, chief: Person) -> None:
    second = join(app, chief.storage, "second@example.org", role="admin")
    chief.browser.post(f"/admin/users/{second.user.id}/suspend")
    give(chief, second, "writer")
    assert role_of(second) is None


def test_nobody_changes_their_own_role_and_so_not_the_last_owners(chief: Person) -> None:
    assert "Change the role" not in chief.browser.get(f"/admin/users/{chief.user.id}").text
    assert "your own account" in give(chief, chief, "auditor")
    assert role_of(chief) == "owner"
    assert not trail(chief.storage, "user.role_changed")


def test_who_has_a_role_is_suspended_and_let_back_in_by_an_owner_only(
    chief: Person, operator: Person, auditor: Person
) -> None:
    for person in (chief, auditor):
        page = f"/admin/users/{person.user.id}"
        assert "only an owner can suspend them" in operator.browser.get(page).text
        assert "an owner has to do it" in operator.browser.post(f"{page}/suspend", follow_redirects=True).text
        assert state_of(person) == "active"
    chief.browser.post(f"/admin/users/{auditor.user.id}/suspend")
    operator.browser.post(f"/admin/users/{auditor.user.id}/unsuspend")
    assert state_of(auditor) == "suspended"


def test_an_auditor_is_offered_nothing_that_would_be_refused(chief: Person, auditor: Person, ada: Person) -> None:
    with ada.storage.database.session() as session:
        api_keys.create_key(session, ada.user.id, "laptop")
    run_id = begin(ada).run_id
    for path in (f"users/{ada.user.id}", f"runs/{run_id}", "workers", "base-models"):
        offered = re.findall(r'<form method="post" action="(/admin/[^"]+)"', chief.browser.get(f"/admin/{path}").text)
        assert offered or path in ("workers", "base-models")
        assert 'action="/admin/' not in auditor.browser.get(f"/admin/{path}").text.replace('method="get" action', "")


def test_the_only_owner_may_leave_as_the_refusal_says(chief: Person, ada: Person) -> None:
    refused = chief.browser.post("/account/delete", {"word": "delete"})
    assert refused.status_code == 409
    assert "Make somebody else an owner first, on their page in the console" in refused.text
    give(chief, ada, "owner")
    assert chief.browser.post("/account/delete", {"word": "delete"}).status_code == 200
    assert ada.browser.get("/admin/users").status_code == 200
