import re
from dataclasses import replace

import pytest
from flask import Flask

from app.config import AppConfig
from app.web.factory import create_app
from storage import api_keys, audit, prefixes
from storage.models import ApiKey
from storage.redis_cache import RedisCache
from storage.store import Storage
from tests.app.web.browser import Person, join
from tests.app.web.training import publish


def key_of(person: Person, name: str = "laptop") -> ApiKey:
    with person.storage.database.session() as session:
        return api_keys.create_key(session, person.user.id, name)[0]


def shown(person: Person, query: str) -> list[str]:
    return re.findall(r'class="mono">(idl-[^<]+)<', person.browser.get(f"/admin/keys?{query}").text)


def test_everybodys_keys_are_found_by_hint_owner_and_use(
    chief: Person, auditor: Person, ada: Person, bob: Person
) -> None:
    first, second, idle = key_of(ada), key_of(bob), key_of(bob, "old")
    with chief.storage.database.session() as session:
        session.get_one(ApiKey, idle.id).created_at -= 91 * 24 * 3600
    assert shown(auditor, "") == [second.hint, first.hint, idle.hint]
    assert shown(auditor, f"q={first.hint}") == [first.hint]
    assert shown(auditor, f"q={first.hint.removesuffix('…')}and-the-rest-of-a-key") == [first.hint]
    assert shown(auditor, "q=ADA@") == [first.hint]
    assert shown(auditor, "which=idle") == [idle.hint]
    assert shown(auditor, "which=revoked") == []
    assert "No key is like that" in auditor.browser.get("/admin/keys?which=revoked").text
    assert "Revoke" not in auditor.browser.get("/admin/keys").text
    assert f"/keys/{first.id}/revoke" in chief.browser.get("/admin/keys").text
    chief.browser.post(f"/admin/users/{ada.user.id}/keys/{first.id}/revoke")
    assert shown(auditor, "which=revoked") == [first.hint]
    assert shown(auditor, "") == [second.hint, idle.hint]


def test_keys_come_in_pages(chief: Person, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.admin.keys.PAGE", 1)
    first, second = key_of(ada), key_of(ada)
    page = chief.browser.get("/admin/keys?q=ada").text
    assert second.hint in page
    following = re.search(r'rel="next" href="([^"]+)"', page)
    assert following
    assert first.hint in chief.browser.get(following.group(1).replace("&amp;", "&")).text
    assert chief.browser.get("/admin/keys?after=key-x").status_code == 404


def test_nobody_has_a_key(chief: Person) -> None:
    assert "Nobody has a key in use" in chief.browser.get("/admin/keys").text


def test_storage_names_the_largest_first_and_leads_to_them(auditor: Person, ada: Person, bob: Person) -> None:
    ada.add(3)
    publish(bob)
    page = auditor.browser.get("/admin/storage").text
    assert page.index("ada@example.org") < page.index("chief@example.org")
    assert page.index("bob@example.org") < page.index("chief@example.org")
    assert f'href="/admin/users/{ada.user.id}"' in page
    upwards = auditor.browser.get("/admin/storage?sort=samples").text
    assert upwards.index("chief@example.org") < upwards.index("ada@example.org")
    assert "No more people" in auditor.browser.get("/admin/storage?page=9").text
    assert auditor.browser.get("/admin/storage?page=-1&sort=nonsense").status_code == 200


def cached(person: Person) -> int:
    return person.storage.cache.figures().entries


def test_an_operator_empties_the_cache_of_one_person_and_of_all(operator: Person, ada: Person, bob: Person) -> None:
    for person in (ada, bob):
        publish(person)
        prefixes.load_prefix(person.storage, person.user.id, person.voice.id)
    assert cached(ada) == 2
    page = operator.browser.post("/admin/cache/evict", {"user": ada.user.id}, follow_redirects=True)
    assert "One entry was taken out" in page.text
    assert ada.user.email in page.text
    assert cached(ada) == 1
    assert "One entry was taken out" in operator.browser.post("/admin/cache/evict", follow_redirects=True).text
    assert cached(ada) == 0
    assert prefixes.load_prefix(ada.storage, ada.user.id, ada.voice.id).data
    with ada.storage.database.reading() as session:
        every, one = audit.list_events(session, action="cache.evicted")
    assert (every.subject_id, every.detail) == (None, {"entries": 1})
    assert (one.actor_id, one.subject_id, one.detail) == (operator.user.id, ada.user.id, {"entries": 1})
    assert operator.browser.post("/admin/cache/evict", {"user": "user-x"}).status_code == 404


def test_a_cache_that_is_away_is_a_sentence(storage: Storage) -> None:
    bundle = replace(storage, cache=RedisCache("redis://127.0.0.1:1/0"))
    app: Flask = create_app(AppConfig(), bundle)
    root = join(app, bundle, "root@example.org", role="admin")
    told = root.browser.post("/admin/cache/evict", follow_redirects=True).text
    assert "The cache does not answer, so nothing was taken out of it." in told


def test_people_are_narrowed_down_to_those_suspended_and_those_with_a_role(
    chief: Person, operator: Person, ada: Person, bob: Person
) -> None:
    chief.browser.post(f"/admin/users/{bob.user.id}/suspend")

    def listed(query: str) -> list[str]:
        return re.findall(r'row-link" href="/admin/users/(user-\w+)"', chief.browser.get(f"/admin/users?{query}").text)

    assert listed("which=suspended") == [bob.user.id]
    assert listed("which=administrators") == [operator.user.id, chief.user.id]
    assert listed("which=suspended&q=ada") == []
    assert len(listed("which=nonsense")) == 4
    assert 'href="/admin/users?which=suspended">1 of them suspended' in chief.browser.get("/admin/").text
