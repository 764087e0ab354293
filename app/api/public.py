"""The routes that need no key: health, the OpenAPI document, and the page to try the API."""

from pathlib import Path
from typing import Any

from apiflask import APIBlueprint
from flask import Response, current_app, jsonify, send_from_directory

from app.api import schemas
from app.api.errors import ApiError, missing
from app.api.gate import PUBLIC
from app.api.services import services

ASSETS = Path(__file__).parent / "docs"
OPENAPI = "idiolect.openapi"
ASSET_NAMES = ("try.js", "try.css")
# No inline script or style, nothing from elsewhere, and requests to this origin alone.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}


def _answers(description: str, media: str, kind: str = "string") -> dict[int | str, dict[str, Any]]:
    return {200: {"description": description, "content": {media: {"schema": {"type": kind}}}}}


blueprint = APIBlueprint(PUBLIC, __name__, tag="About")


@blueprint.get("/healthz")
@blueprint.output(schemas.Health)
@blueprint.doc(responses={503: "The engine has stopped; this process must be started again"})
def health() -> schemas.Health:
    """Is the API up?"""
    figures = services().engine.figures()
    if not figures.healthy:
        raise ApiError(503, "The engine has stopped; start this process again.", code="engine_stopped")
    return schemas.Health(status="ok", model=services().base.name, running=figures.running, waiting=figures.waiting)


@blueprint.get("/v1/openapi.json")
@blueprint.doc(responses=_answers("The document", "application/json", "object"))
def openapi_document() -> Response:
    """This API, as an OpenAPI 3.1 document."""
    known = current_app.extensions
    if OPENAPI not in known:  # making it takes a quarter of a second, and it never changes
        known[OPENAPI] = jsonify(current_app.spec).get_data()  # type: ignore[attr-defined]  # an APIFlask
    return Response(known[OPENAPI], mimetype="application/json")


@blueprint.get("/v1/docs")
@blueprint.doc(responses=_answers("The page", "text/html"))
def try_page() -> Response:
    """A page to read about the API and to try it."""
    response = send_from_directory(ASSETS, "try.html")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@blueprint.get("/v1/docs/<name>")
@blueprint.doc(responses=_answers("The file", "text/*") | {404: {"description": "No such file", "content": _ERROR}})
def try_asset(name: str) -> Response:
    """The page's own script and style."""
    if name not in ASSET_NAMES:
        raise missing("page")
    response = send_from_directory(ASSETS, name, max_age=3600)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
