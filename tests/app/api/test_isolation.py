"""Nobody reaches what is another's: every route with a foreign id is a 404 that looks like an unknown id's, and a cache
entry in the wrong place is never used."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from sqlalchemy import select

from storage import users
from storage.models import PrefixVersion
from tests.app.api.people import Api, Person, add_report, publish_random, write_samples
from tests.app.api.test_errors import error_of
from tests.app.api.test_files import send
from tests.factories import SAMPLE_TEXTS

BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("PATCH", "/v1/voices/<voice_id>"): {"name": "Taken"},
    ("POST", "/v1/voices/<voice_id>/samples"): {"text": "Some words of mine that go on for a while, and on. " * 5},
    ("PATCH", "/v1/voices/<voice_id>/samples/<sample_id>"): {"included": False, "prompt": "Taken?"},
    ("POST", "/v1/voices/<voice_id>/tuning_runs"): {},
}
PUBLIC = "public."


def routes_with_ids(api: Api) -> Iterator[tuple[str, str]]:
    """(method, rule) of everything that names something by id."""
    for rule in api.app.url_map.iter_rules():
        if rule.arguments and not rule.endpoint.startswith(PUBLIC):
            yield from ((method, rule.rule) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))


def belongings(api: Api, person: Person) -> dict[str, str]:
    """One id of each kind that is really theirs."""
    publish_random(api, person)
    add_report(api.storage, person, 1, {"neutral_rise_pct": 0.5})
    sample = api.call(person, "GET", f"/v1/voices/{person.voice_id}/samples").json["data"][0]["id"]
    run = api.call(person, "GET", f"/v1/voices/{person.voice_id}/tuning_runs").json["data"][0]["id"]
    return {
        "voice_id": person.voice_id,
        "model_id": person.voice_id,
        "sample_id": sample,
        "run_id": run,
        "job_id": run,
        "file_id": send(api, person).json["id"],
        "version": "1",
    }


def filled(rule: str, ids: dict[str, str]) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda match: ids[match[1]], rule)


def test_every_route_with_a_foreign_id_is_a_404_like_an_unknown_one(api: Api, ann: Person, ben: Person) -> None:
    foreign, own = belongings(api, ben), belongings(api, ann)
    unknown = {name: "1" if name == "version" else f"{value.split('-')[0]}-{'a' * 20}" for name, value in own.items()}
    checked = 0
    for method, rule in routes_with_ids(api):
        body = BODIES.get((method, rule))
        for query in ("", "?stream=true") if rule.endswith("<run_id>/events") else ("",):
            messages = set()
            for ids in (foreign, unknown):
                answer = api.call(ann, method, filled(rule, ids) + query, json=body)
                messages.add(error_of(answer, 404)["message"])
                checked += 1
            assert len(messages) == 1, f"{method} {rule} tells foreign from unknown"
    assert checked >= 34
    # A foreign inner id under one's own voice, and the other way round.
    for method, rule in routes_with_ids(api):
        if "sample_id" in rule:
            for ids in (own | {"sample_id": foreign["sample_id"]}, foreign | {"sample_id": own["sample_id"]}):
                error_of(api.call(ann, method, filled(rule, ids), json=BODIES.get((method, rule))), 404)
    for person, ids in ((ann, own), (ben, foreign)):  # and nothing was changed by all this
        assert api.complete(person, person.voice_id).status_code == 200
        assert api.call(person, "GET", f"/v1/voices/{ids['voice_id']}").json["name"] == "My voice"
        assert len(api.call(person, "GET", f"/v1/voices/{ids['voice_id']}/samples").json["data"]) == len(SAMPLE_TEXTS)


def test_every_route_without_a_key_is_a_401(api: Api, ann: Person) -> None:
    own = belongings(api, ann)
    checked = 0
    for rule in api.app.url_map.iter_rules():
        if not rule.endpoint.startswith(PUBLIC):
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                error_of(api.client().open(filled(rule.rule, own), method=method), 401)
                checked += 1
    assert checked >= 21


@pytest.fixture
def cache(api: Api) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(api.storage.config.cache_url)
    yield client
    client.close()


def entry(cache: redis.Redis, person: Person) -> bytes:
    """The key of the one cached prefix of this person's voice."""
    (key,) = cache.scan_iter(match=f"*{person.voice_id}*", count=10_000)
    return bytes(key)


def test_swapped_cache_entries_are_refused_and_the_database_answers(
    api: Api, ann: Person, ben: Person, cache: redis.Redis
) -> None:
    for seed, person in enumerate((ann, ben)):
        publish_random(api, person, seed)
    said = {person: api.complete(person, person.voice_id).json for person in (ann, ben)}
    keys = [entry(cache, person) for person in (ann, ben)]
    values = [cache.get(key) for key in keys]
    assert values[0] != values[1]
    cache.set(keys[0], values[1])
    cache.set(keys[1], values[0])
    api.forget_prefixes()
    for person in (ann, ben):
        again = api.complete(person, person.voice_id).json
        assert again["choices"] == said[person]["choices"]
        assert again["idiolect"] == said[person]["idiolect"]
    assert said[ann]["choices"] != said[ben]["choices"]
    assert [cache.get(key) for key in keys] != [values[1], values[0]]  # the wrong ones are gone


def test_a_poisoned_cache_entry_is_refused(api: Api, ann: Person, cache: redis.Redis) -> None:
    publish_random(api, ann)
    said = api.complete(ann, ann.voice_id).json["choices"]
    cache.set(entry(cache, ann), b"\x01" + b"poison" * 100)
    api.forget_prefixes()
    assert api.complete(ann, ann.voice_id).json["choices"] == said


def test_a_suspended_persons_key_is_a_401_at_once(api: Api, ann: Person) -> None:
    assert api.call(ann, "GET", "/v1/models").status_code == 200
    with api.storage.database.session() as session:
        users.set_state(session, ann.user_id, "suspended")
    assert error_of(api.call(ann, "GET", "/v1/models"), 401)["code"] == "invalid_api_key"


def test_an_erased_persons_key_is_a_401_and_their_voice_gone(api: Api, ann: Person, ben: Person) -> None:
    publish_random(api, ann)
    assert api.complete(ann, ann.voice_id).status_code == 200
    users.erase_user(api.storage, ann.user_id, actor_id=ann.user_id)
    error_of(api.complete(ann, ann.voice_id), 401)
    error_of(api.complete(ben, ann.voice_id), 404)


def test_an_erased_data_key_fails_closed(api: Api, ann: Person) -> None:
    publish_random(api, ann)
    assert api.complete(ann, ann.voice_id).status_code == 200  # from now on it lies opened in memory
    api.storage.keys.erase(ann.user_id)
    assert error_of(api.complete(ann, ann.voice_id), 404)["code"] == "data_erased"


def test_a_damaged_stored_prefix_fails_closed(api: Api, ann: Person, ben: Person, cache: redis.Redis) -> None:
    for person in (ann, ben):
        publish_random(api, person)
    with api.storage.database.session() as session:
        theirs = session.scalars(select(PrefixVersion).where(PrefixVersion.user_id == ben.user_id)).one()
        mine = session.scalars(select(PrefixVersion).where(PrefixVersion.user_id == ann.user_id)).one()
        mine.sealed = theirs.sealed
    cache.delete(entry(cache, ann))
    answer = api.complete(ann, ann.voice_id)
    assert error_of(answer, 500)["code"] == "integrity_error"
    assert answer.headers["x-should-retry"] == "false"


def test_lists_hold_only_ones_own(api: Api, ann: Person, ben: Person) -> None:
    write_samples(api.storage, ben)
    assert [voice["id"] for voice in api.call(ann, "GET", "/v1/voices").json["data"]] == [ann.voice_id]
    assert api.call(ann, "GET", f"/v1/voices/{ann.voice_id}/samples").json["data"] == []
