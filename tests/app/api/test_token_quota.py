"""A day's tokens of one account, where an owner or the configuration bounds them."""

from storage import quotas, usage
from storage.usage import Counts, Place
from tests.app.api.people import Api, Person, with_key
from tests.app.api.test_errors import error_of


def allow(api: Api, person: Person, tokens: int) -> None:
    with api.storage.database.session() as session:
        quotas.set_own(session, person.user_id, {"tokens_per_day": tokens}, "user-chief")


def used(api: Api, person: Person, day: str, tokens: int) -> None:
    with api.storage.database.session() as session:
        usage.add(session, {Place(person.user_id, day, "key-a", ""): Counts(1, tokens, 0)})


def test_whoever_has_used_up_the_day_is_refused_with_the_limit_and_who_can_raise_it(
    api: Api, ann: Person, ben: Person
) -> None:
    allow(api, ann, 50)
    used(api, ann, "2020-01-01", 1000)
    used(api, ann, usage.today(), 49)
    with api.complete(ann, api.base.name, max_tokens=4) as begun:  # one token was left
        assert begun.status_code == 200
    refused = api.complete(with_key(api.storage, ann, "generate"), api.base.name, max_tokens=4)
    error = error_of(refused, 429)
    assert (error["code"], error["type"]) == ("insufficient_quota", "insufficient_quota")
    assert "may have 50 tokens read and written in a day and has used" in error["message"]
    assert "an owner of this platform can allow you more" in error["message"]
    assert refused.headers["x-should-retry"] == "false"
    assert 1 <= int(refused.headers["Retry-After"]) <= 24 * 3600
    assert api.complete(ben, api.base.name, max_tokens=4).status_code == 200
    assert api.call(ann, "GET", "/v1/models").status_code == 200
    allow(api, ann, 0)
    assert api.complete(ann, api.base.name, max_tokens=4).status_code == 200
