"""The OpenAPI document tells the truth about the routes, and the page to try them needs nothing from elsewhere."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.app.api.people import Api, Person, add_report, publish_random
from tests.app.api.test_files import send

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


@pytest.fixture(scope="module")
def document(api: Api) -> dict[str, Any]:
    answer = api.client().get("/v1/openapi.json")
    assert answer.status_code == 200
    spec: dict[str, Any] = answer.json
    return spec


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def references(node: Any) -> Iterator[str]:
    """Every $ref below."""
    if isinstance(node, dict):
        yield from ([node["$ref"]] if isinstance(node.get("$ref"), str) else [])
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolved(document: dict[str, Any], reference: str) -> Any:
    node: Any = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def test_every_route_is_in_the_document_and_nothing_else(api: Api, document: dict[str, Any]) -> None:
    routed = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in api.app.url_map.iter_rules()
        for method in (rule.methods or set()) & METHODS
    }
    assert {(path, method) for path, method, _ in operations(document)} == routed


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert set(document["info"]) >= {"title", "version"}
    assert document["servers"]
    for reference in references(document):
        assert reference.startswith("#/components/schemas/")
        assert resolved(document, reference)
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    tags = [tag["name"] for tag in document["tags"]]
    assert len(set(tags)) == len(tags)
    assert all(set(operation["tags"]) <= set(tags) for _, _, operation in operations(document))
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for path, method, operation in operations(document):
        in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path)), (method, path)
        assert all(one["required"] is True for one in operation["parameters"] if one["in"] == "path")
        assert len({(one["in"], one["name"]) for one in operation["parameters"]}) == len(operation["parameters"])
        assert any(status.startswith("2") for status in operation["responses"])
        for response in operation["responses"].values():
            assert response["description"]
            for media in response.get("content", {}).values():
                Draft202012Validator.check_schema(media["schema"])


def test_every_closed_operation_names_its_key_and_its_errors(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, _, operation in operations(document):
        if path.startswith(("/healthz", "/v1/openapi.json", "/v1/docs")):
            assert operation["security"] == []
        else:
            for status in ("400", "401", "403", "404", "429", "503"):
                assert operation["responses"][status]["content"]["application/json"]["schema"] == {
                    "$ref": "#/components/schemas/Error"
                }


def test_answers_are_as_the_document_says(api: Api, document: dict[str, Any], ann: Person) -> None:
    publish_random(api, ann)
    add_report(api.storage, ann, 1, {"neutral_rise_pct": 0.5, "style": None})
    run = api.call(ann, "GET", f"/v1/voices/{ann.voice_id}/tuning_runs").json["data"][0]["id"]
    asked = {
        "/v1/models": "/v1/models",
        "/v1/voices": "/v1/voices",
        "/v1/voices/{voice_id}": f"/v1/voices/{ann.voice_id}",
        "/v1/voices/{voice_id}/samples": f"/v1/voices/{ann.voice_id}/samples",
        "/v1/voices/{voice_id}/versions": f"/v1/voices/{ann.voice_id}/versions",
        "/v1/voices/{voice_id}/versions/{version}/report": f"/v1/voices/{ann.voice_id}/versions/1/report",
        "/v1/voices/{voice_id}/tuning_runs": f"/v1/voices/{ann.voice_id}/tuning_runs",
        "/v1/tuning_runs/{run_id}": f"/v1/tuning_runs/{run}",
        "/v1/tuning_runs/{run_id}/events": f"/v1/tuning_runs/{run}/events",
        "/v1/files": "/v1/files",
        "/v1/files/{file_id}": f"/v1/files/{send(api, ann).json['id']}",
        "/v1/fine_tuning/jobs": "/v1/fine_tuning/jobs",
        "/v1/fine_tuning/jobs/{job_id}": f"/v1/fine_tuning/jobs/{run}",
        "/v1/fine_tuning/jobs/{job_id}/events": f"/v1/fine_tuning/jobs/{run}/events",
        "/v1/fine_tuning/jobs/{job_id}/checkpoints": f"/v1/fine_tuning/jobs/{run}/checkpoints",
        "/healthz": "/healthz",
    }
    for path, url in asked.items():
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        Draft202012Validator({**schema, "components": document["components"]}).validate(api.call(ann, "GET", url).json)
    schema = document["paths"]["/v1/completions"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(
        api.complete(ann, ann.voice_id).json
    )


def test_the_headers_of_an_answer_and_of_a_refusal_at_the_gate_are_those_of_the_document(
    api: Api, document: dict[str, Any], ann: Person
) -> None:
    publish_random(api, ann)
    responses = document["paths"]["/v1/completions"]["post"]["responses"]
    answer = api.complete(ann, ann.voice_id)
    refused = api.client().post("/v1/completions", json={"model": "x"}, headers={"Authorization": "Bearer no"})
    for found, status in ((answer, "200"), (refused, "401")):
        ours = {name.lower() for name, _ in found.headers if name.lower().startswith("x-")}
        assert str(found.status_code) == status
        assert ours == set(responses[status]["headers"])


def test_the_examples_of_bodies_fit_their_schemas(document: dict[str, Any]) -> None:
    checked = 0
    for _, _, operation in operations(document):
        if body := operation.get("requestBody"):
            media = body["content"].get("application/json")
            if media is None:  # a form with a file in it
                continue
            schema = {**media["schema"], "components": document["components"]}
            Draft202012Validator(schema).validate(media["example"])
            checked += 1
    assert checked >= 7


class _Sources(HTMLParser):
    """What a page loads, and what it carries inline."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "link"):
            self.loaded.append(given.get("src") or given.get("href") or "inline")
        self.inline += [name for name in given if name.startswith("on") or name == "style"]


def test_the_page_to_try_it_loads_only_its_own_files(api: Api) -> None:
    page = api.client().get("/v1/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    sources = _Sources()
    sources.feed(page.get_data(as_text=True))
    assert sources.loaded == ["docs/try.css", "docs/try.js"]
    assert sources.inline == []
    for name, kind in (("try.js", "text/javascript"), ("try.css", "text/css")):
        asset = api.client().get(f"/v1/docs/{name}")
        assert asset.mimetype == kind
        assert not re.search(r"https?://", asset.get_data(as_text=True))
        asset.close()
    page.close()
    assert api.client().get("/v1/docs/try.html").status_code == 404
    assert api.client().get("/v1/docs/..%2ffactory.py").status_code == 404
