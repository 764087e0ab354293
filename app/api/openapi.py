"""What every operation of the OpenAPI document has in common: the bearer key, the error shape, the headers."""

import re
from typing import Any

from apiflask import APIFlask
from apiflask.openapi_adapters import extract_pydantic_defs
from flask import current_app
from pydantic import BaseModel

from app.api import schemas
from app.api.chat_schemas import ChatCompletionChunk
from app.api.idempotency import HEADER, MAX_CHARS, NAME, REPLAYED, is_idempotent
from app.api.scopes import wanted
from app.api.services import services

TITLE = "Idiolect"
DESCRIPTION = (
    "Text in a person's own voice: one frozen language model, one short trained prefix per voice. "
    "Shapes, errors and streams are OpenAI's, so that its clients work unchanged: point their base URL here."
)
KEY = "An API key, idl-…. An operation lists the scopes of which the key must have one."
PUBLIC_PREFIXES = ("/healthz", "/v1/openapi.json", "/v1/docs")
_ERRORS = {
    "400": "The request can't be answered as it is; the message says what to change",
    "401": "No API key, or not a good one",
    "403": "The key may not do that; the message says which scope it needs",
    "404": "No such thing, or not yours",
    "409": "It contradicts what is there: the voice is not trained, the run has ended …",
    "413": "The body is too large, or holds too many values",
    "429": "Too many requests of this key; Retry-After says when to come back",
    "503": "Too busy; Retry-After says when to come back",
    "500": "A fault on this side",
}
_HEADERS = {
    "x-request-id": "Names this request in the log",
    "x-ratelimit-limit-requests": "Requests a minute that this key may make",
    "x-ratelimit-remaining-requests": "How many are left of them",
    "x-ratelimit-reset-requests": "When the minute begins anew, such as 7s",
}
_TOKEN_HEADERS = {
    "x-ratelimit-limit-tokens": "Tokens a minute that this account may have read and written",
    "x-ratelimit-remaining-tokens": "How many are left of them; a request under way holds the most that it may take",
    "x-ratelimit-reset-tokens": "When all of them are there again, if nothing is asked meanwhile, such as 7s",
}
_SPEAKER_HEADERS = {
    "x-idiolect-voice": "Whose voice this was made with; none of the three where it was the base model",
    "x-idiolect-version": "Which version of it",
    "x-idiolect-strength": "How far it was followed",
}
_REUSED = {"422": "The idempotency key came with another request before"}
_REPLAYED = {REPLAYED: "true: this was done before, and this is the first answer again"}
_ONCE = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "A name for this request, such as a UUID: sent again within a day it does nothing again and gets "
    "the first answer.",
    "schema": {"type": "string", "pattern": NAME, "minLength": 1, "maxLength": MAX_CHARS},
}
_SPOKEN = {"/v1/completions": "Completion", "/v1/chat/completions": "ChatCompletionChunk"}  # path -> a chunk's schema
_ERROR_REF = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}


def configure_openapi(app: APIFlask) -> None:
    """Settings of the document, and the hook that completes it."""
    app.config.update(
        DESCRIPTION=DESCRIPTION,
        LICENSE={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        SECURITY_SCHEMES={"key": {"type": "http", "scheme": "bearer", "description": KEY}},
        AUTO_404_RESPONSE=False,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        AUTO_AUTH_ERROR_RESPONSE=False,
        AUTO_SERVERS=False,
        AUTO_OPERATION_ID=True,
        VALIDATION_ERROR_STATUS_CODE=400,
    )
    app.spec_processor(_complete)


def _complete(spec: dict[str, Any] | str) -> dict[str, Any] | str:
    assert isinstance(spec, dict), "SPEC_FORMAT is json"
    spec["servers"] = [{"url": "/"}]
    spec["tags"] = list({tag["name"]: tag for tag in spec["tags"]}.values())  # two blueprints may share one
    _add_schema(spec["components"]["schemas"], "Error", schemas.Error)
    _add_schema(spec["components"]["schemas"], "ChatCompletionChunk", ChatCompletionChunk)
    _add_schema(spec["components"]["schemas"], "TuningEvent", schemas.TuningEvent)
    endpoints = _endpoints()
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            if path.startswith(PUBLIC_PREFIXES):
                _describe_open(operation)
            else:
                _describe_closed(operation, endpoints[path, method.upper()], method.upper())
    for path, chunk in _SPOKEN.items():
        _describe_spoken(spec["paths"][path]["post"], chunk)
    _describe_stream(spec["paths"]["/v1/tuning_runs/{run_id}/events"]["get"], "TuningEvent")
    return spec


def _describe_open(operation: dict[str, Any]) -> None:
    operation["security"] = []
    for response in operation["responses"].values():
        response["headers"] = _described({"x-request-id": _HEADERS["x-request-id"]})


def _describe_closed(operation: dict[str, Any], endpoint: str, method: str) -> None:
    operation["security"] = [{"key": [scope]} for scope in wanted(endpoint.partition(".")[0], method)]
    once = is_idempotent(current_app.view_functions[endpoint])
    for status, description in (_ERRORS | (_REUSED if once else {})).items():
        operation["responses"].setdefault(status, {"description": description, "content": _ERROR_REF})
    for status, response in operation["responses"].items():
        uncounted = status in ("401", "403")  # refused at the gate
        response["headers"] = _described({"x-request-id": _HEADERS["x-request-id"]} if uncounted else _HEADERS)
    if "requestBody" in operation:
        operation["requestBody"]["required"] = True
    for parameter in operation["parameters"]:
        if parameter["in"] == "query":
            _take_null_away(parameter["schema"])
    if once:
        operation["parameters"].append(_ONCE)
        for response in _successes(operation):
            response["headers"] |= _described(_REPLAYED)


def _describe_spoken(operation: dict[str, Any], chunk: str) -> None:
    for status in ("200", "429"):
        operation["responses"][status]["headers"] |= _described(_TOKEN_HEADERS)
    operation["responses"]["200"]["headers"] |= _described(_SPEAKER_HEADERS)
    _describe_stream(operation, chunk)
    body = operation["requestBody"]["content"]["application/json"]
    body["example"] = {"model": services().base.name, **body["example"]}


def _describe_stream(operation: dict[str, Any], told: str) -> None:
    """Beside the JSON, server-sent events of this schema each, at last [DONE]."""
    said = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in (told, "Error")]}
    data = {
        "description": f"{told} as JSON, or an Error that ends the stream; at last [DONE]",
        "anyOf": [
            {"type": "string", "contentMediaType": "application/json", "contentSchema": said},
            {"const": "[DONE]"},
        ],
    }
    one = {"type": "object", "properties": {"data": data, "id": {"type": "string"}}, "required": ["data"]}
    operation["responses"]["200"]["content"]["text/event-stream"] = {"schema": one}


def _successes(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return [response for status, response in operation["responses"].items() if status.startswith("2")]


def _take_null_away(schema: dict[str, Any]) -> None:
    """A query can spell no null; what is left out is left out."""
    if "anyOf" in schema:
        (kind,) = [one for one in schema.pop("anyOf") if one != {"type": "null"}]
        schema |= kind
        schema.pop("default", None)


def _endpoints() -> dict[tuple[str, str], str]:
    """(path as the document writes it, method) -> the view's endpoint."""
    return {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method): rule.endpoint
        for rule in current_app.url_map.iter_rules()
        for method in rule.methods or ()
    }


def _add_schema(components: dict[str, Any], name: str, model: type[BaseModel]) -> None:
    """A schema that no view's decorator names."""
    schema = model.model_json_schema(ref_template=f"#/components/schemas/{name}.{{model}}", mode="serialization")
    components.update(extract_pydantic_defs(schema, name))
    components[name] = schema


def _described(headers: dict[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}
