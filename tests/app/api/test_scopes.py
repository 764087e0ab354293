"""What a key with fewer scopes may do: just what the OpenAPI document says, on every route."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from app.api.factory import build
from app.api.services import Services
from app.config import AppConfig
from storage.api_keys import SCOPES
from tests.app.api.people import Api, Person, with_key
from tests.app.api.test_errors import error_of


def closed_operations(api: Api) -> Iterator[tuple[str, str, set[str]]]:
    """(method, path without ids of anything, scopes of which one will do) of every operation that needs a key."""
    document: dict[str, Any] = api.client().get("/v1/openapi.json").json
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if named := [set(requirement["key"]) for requirement in operation["security"]]:
                assert all(len(one) == 1 for one in named)
                yield method.upper(), re.sub("{.*?}", "1", path), set().union(*named)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_with_one_scope_may_do_what_the_document_says_and_nothing_else(api: Api, ann: Person, scope: str) -> None:
    limited = with_key(api.storage, ann, scope)
    allowed, refused = 0, 0
    for method, path, scopes in closed_operations(api):
        answer = api.call(limited, method, path)
        if scope in scopes:
            assert answer.status_code != 403, (method, path)
            allowed += 1
        else:
            error = error_of(answer, 403)
            assert error["code"] == "missing_scope"
            assert all(needed in error["message"] for needed in scopes), (method, path)
            refused += 1
    assert allowed
    assert refused


def test_looking_takes_read_or_the_scope_of_what_is_looked_at(api: Api, ann: Person) -> None:
    for method, path, scopes in closed_operations(api):
        assert scopes <= set(SCOPES)
        assert ("read" in scopes) == (method == "GET"), (method, path)


def test_a_key_for_writing_alone_lists_models_and_writes_and_reads_nobodys_samples(api: Api, ann: Person) -> None:
    writer = with_key(api.storage, ann, "generate")
    assert api.call(writer, "GET", "/v1/models").status_code == 200
    assert api.complete(writer, api.base.name).status_code == 200
    error_of(api.call(writer, "GET", f"/v1/voices/{ann.voice_id}/samples"), 403)


def test_a_route_that_nobody_gave_a_scope_answers_nobody(api: Api, ann: Person) -> None:
    app = build(Services(AppConfig(), api.storage, api.base, api.engine))
    app.add_url_rule("/v1/new", "new.thing", lambda: "open")
    assert app.test_client().get("/v1/new", headers=ann.headers).status_code == 500
