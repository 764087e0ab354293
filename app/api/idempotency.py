"""Idempotency keys: a POST that makes something does it once, however often it is sent with the same Idempotency-Key.

As in draft-ietf-httpapi-idempotency-key-header: the same key and the same request within a day give the first answer
again, with Idempotent-Replayed: true; another request 422; one that is still at work 409. A key counts within its
account. Refusals are not kept, for they have made nothing: the same key may be tried again with what was mended. A
request is the same if its path and the meaning of its body are (an upload's boundary is drawn anew by every client).
"""

import hashlib
import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from flask import Response, g, request
from pydantic import BaseModel
from sqlalchemy.orm import Session
from werkzeug.datastructures import FileStorage

from app.api.errors import refused
from app.api.schemas import Out
from app.api.services import caller, services
from storage import idempotency
from storage.idempotency import Answer

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
MAX_CHARS = 255
NAME = r"^[!-~]([ -~]*[!-~])?$"
_MARK = "once"

P = ParamSpec("P")
R = TypeVar("R")
Made = TypeVar("Made", bound=Out)


def idempotent(view: Callable[P, R]) -> Callable[P, R | Response]:
    """For a view that makes something, next to the view itself. It must return what `keep` returns."""

    @wraps(view)
    def once(*args: P.args, **kwargs: P.kwargs) -> R | Response:
        name = _name()
        if name is None:
            return view(*args, **kwargs)
        storage = services().storage
        with storage.database.session() as session:
            turn = idempotency.begin(
                session, storage.keys, caller().user_id, name, _asked(cast(BaseModel, kwargs["body"]))
            )
        if isinstance(turn, Answer):
            return Response(turn.body, turn.status, {REPLAYED: "true"}, mimetype="application/json")
        g.turn = turn
        try:
            answer = view(*args, **kwargs)
        except BaseException:
            with storage.database.session() as session:
                idempotency.give_back(session, turn)
            raise
        assert "turn" not in g, "the view kept no answer"
        return answer

    vars(once)[_MARK] = True
    return once


def is_idempotent(view: Callable[..., Any]) -> bool:
    """Whether this view takes idempotency keys."""
    return _MARK in vars(view)


def keep(session: Session, made: Made, status: int) -> tuple[Made, int]:
    """What a view answers, kept for whoever asks again in the transaction that made it."""
    if "turn" in g:
        answer = Answer(status, made.model_dump_json().encode())
        idempotency.keep(session, services().storage.keys, g.pop("turn"), answer)
    return made, status


def _name() -> str | None:
    """The key, if there is one: bare, or in the quotes that the draft asks for."""
    sent = request.headers.get(HEADER)
    if sent is None:
        return None
    if len(sent) > MAX_CHARS or not re.search(NAME, sent):
        raise refused(f"{HEADER}: 1 to {MAX_CHARS} printable ASCII characters, such as a UUID.", param=HEADER)
    return sent[1:-1] if len(sent) > 2 and sent[0] == sent[-1] == '"' else sent


def _asked(body: BaseModel) -> bytes:
    """The request's meaning."""
    files = {name: value for name, value in body if isinstance(value, FileStorage)}
    fields = body.model_dump(mode="json", exclude=set(files)) | {name: _read(file) for name, file in files.items()}
    return json.dumps([request.method, request.path, fields], sort_keys=True).encode()


def _read(file: FileStorage) -> list[str]:
    digest = hashlib.file_digest(file.stream, "sha256").hexdigest()  # type: ignore[arg-type]  # a BytesIO here
    file.stream.seek(0)
    return [file.filename or "", digest]
