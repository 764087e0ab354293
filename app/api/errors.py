"""Every answer that is not a success, in OpenAI's shape: {"error": {message, type, param, code}}.

The one place that knows which error of storage, tuning or generation becomes which HTTP status. A permanent refusal
that clients would retry by its status (409, 429) says `x-should-retry: false`. Messages never repeat what was sent.
"""

import math
from http import HTTPStatus

from apiflask import APIFlask, HTTPError
from flask import Response, has_request_context, jsonify, request
from flask_limiter import RateLimitExceeded
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

import app.generation.errors as generation
import storage.errors as stored
import tuning.errors as tuning
from app.api.request_log import log_failure
from app.errors import AppError
from app.seats import HouseFull, NoSeat

NO_RETRY = {"x-should-retry": "false"}
WHICH_MODELS = "GET /v1/models lists yours, and GET /v1/voices/{voice_id}/versions the versions of a voice."
_VALIDATION_CODES = {
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
    "conflicting_parameters": "conflicting_parameters",
}
_MESSAGES = {
    404: "There is nothing at this URL. GET /v1/openapi.json lists what there is.",
    405: "This URL does not take that method. GET /v1/openapi.json lists what there is.",
    400: "The request could not be read: the body must be one JSON object.",
    415: "The body must be JSON.",
}
# path argument of the innermost thing asked for -> its code
_NAMES = {
    "file_id": "file",
    "job_id": "job",
    "run_id": "run",
    "version": "version",
    "sample_id": "sample",
    "voice_id": "voice",
    "model_id": "model",
}


class ApiError(AppError):
    """One refusal: an HTTP status and the four fields of OpenAI's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        kind: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self._kind = kind
        self.headers = headers or {}

    @property
    def kind(self) -> str:
        """OpenAI's `type`, by status and code where none was given."""
        if self._kind is not None:
            return self._kind
        if self.code in ("rate_limit_exceeded", "too_many_requests_at_once"):
            return "requests"
        return "server_error" if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"

    def body(self) -> dict[str, dict[str, str | None]]:
        """The JSON of the answer, or of a stream's last event."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The whole answer."""
        answer = jsonify(self.body())
        answer.status_code = self.status
        answer.headers.update(self.headers)
        return answer


def missing(what: str, *, param: str | None = None, hint: str = "") -> ApiError:
    """404 for a thing that is not there or not the caller's; the two look the same. hint: where to look."""
    return ApiError(404, f"No such {what}. {hint}".strip(), code=f"{what.replace(' ', '_')}_not_found", param=param)


def refused(message: str, *, param: str | None, code: str = "invalid_value") -> ApiError:
    """400: the request as sent can't be answered; `message` says what to change."""
    return ApiError(400, message, code=code, param=param)


def prompt_too_long(error: generation.PromptTooLong, param: str) -> ApiError:
    """400 for what leaves no room to answer, by the field it came in."""
    message = (
        f"This model takes at most {error.limit} tokens of prompt, "
        f"and the prompt has {error.given}. Shorten the prompt."
    )
    return refused(message, param=param, code="context_length_exceeded")


def as_api_error(error: Exception) -> ApiError:
    """The refusal an error stands for; 500 (logged) for one that nobody foresaw."""
    if isinstance(error, ApiError):
        return error
    known = _of_storage(error) or _of_serving(error) or _of_http(error)
    if known is not None:
        return known
    log_failure(error)
    return ApiError(500, "Something went wrong here; the request id in x-request-id finds it.", code="internal_error")


def _of_storage(error: Exception) -> ApiError | None:
    match error:
        case stored.NotFound():
            return missing(_innermost())
        case stored.NoPublishedVersion():
            message = (
                "This voice has no version in use: train it from writing samples, "
                "or put one of its versions to use, then try again."
            )
            return ApiError(409, message, code="voice_not_trained", param="model", headers=NO_RETRY)
        case stored.RequestUnderWay():
            return ApiError(409, str(error), code="idempotency_key_in_use", headers={"Retry-After": "1"})
        case stored.KeyReused():
            return ApiError(422, str(error), code="idempotency_key_reused", headers=NO_RETRY)
        case stored.NameTaken():
            return ApiError(409, str(error), code="conflict", param="name", headers=NO_RETRY)
        case stored.Conflict():
            return ApiError(409, str(error), code="conflict", headers=NO_RETRY)
        case stored.InvalidSample():
            return refused(str(error), param=None, code="invalid_sample")
        case stored.InvalidUpload():
            return refused(str(error), param="file", code="invalid_training_file")
        case stored.LimitReached():
            return ApiError(429, str(error), code="limit_reached", headers=NO_RETRY)
        case stored.KeyErased():
            return ApiError(404, "This account's data has been erased.", code="data_erased")
        case stored.IntegrityError():
            log_failure(error)
            message = "What is stored for this voice could not be verified, so it was not used. Train the voice again."
            return ApiError(500, message, code="integrity_error", headers=NO_RETRY)
        case OperationalError() | PoolExhausted():
            log_failure(error)
            return _busy("The database did not answer in time; try again.", "database_unavailable")
    return None


def _of_serving(error: Exception) -> ApiError | None:
    match error:
        case tuning.WrongBaseModel() | generation.WrongPrefix():
            message = "This voice was trained for another base model: train it again to use it with this one."
            return ApiError(409, message, code="voice_needs_retraining", param="model", headers=NO_RETRY)
        case tuning.InvalidPrefix():
            log_failure(error)
            message = "What is stored for this voice can't be read by this version. Train the voice again."
            return ApiError(500, message, code="integrity_error", headers=NO_RETRY)
        case generation.PromptTooLong():
            return prompt_too_long(error, "prompt")
        case NoSeat():
            message = f"At most {error.most} of your {error.what} may be open at once; let some end first."
            headers = {"Retry-After": "1"}
            return ApiError(429, message, code="too_many_requests_at_once", headers=headers)
        case HouseFull():
            return _busy(f"{error} Try again in a moment.", "too_many_requests_in_all", retry_after_s=5)
        case generation.EngineFull():
            return _busy("Too many requests are being generated right now; try again in a moment.", "engine_full")
        case generation.EngineClosed():
            return _busy("This server is stopping; try again in a moment.", "server_stopping")
        case generation.EngineFailed():
            message = "Writing broke on our side, and this server starts anew; try again in a minute."
            return _busy(message, "engine_failed", retry_after_s=30)
    return None


def _of_http(error: Exception) -> ApiError | None:
    if isinstance(error, RequestEntityTooLarge):
        limit = request.max_content_length or 0
        return ApiError(413, f"The body may have at most {limit} bytes.", code="request_too_large")
    if isinstance(error, HTTPError) and isinstance(error.__cause__, ValidationError):
        return _invalid(error.__cause__)
    if isinstance(error, RateLimitExceeded):
        message = f"Rate limit reached: {error.limit.limit.amount} requests a minute for one key. Try again shortly."
        return ApiError(429, message, code="rate_limit_exceeded")
    if isinstance(error, HTTPException) and error.code is not None and error.code >= 400:
        status = HTTPStatus(error.code)
        valid = error.valid_methods if isinstance(error, MethodNotAllowed) else None
        headers = {"Allow": ", ".join(sorted(valid))} if valid else {}
        message = _MESSAGES.get(error.code, f"{status.phrase}.")
        return ApiError(error.code, message, code=status.phrase.lower().replace(" ", "_"), headers=headers)
    return None


def _invalid(error: ValidationError) -> ApiError:
    """The first fault of a body or query, by the name of its field."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    # Of a field with several forms there is a fault for each; what is wrong is told by the form it was meant in.
    same_field = [fault for fault in faults if fault["loc"][:1] == faults[0]["loc"][:1]]
    fault = next((fault for fault in same_field if not fault["type"].endswith("_type")), faults[0])
    param = ".".join(str(part) for part in fault["loc"][:1]) or None
    code = _VALIDATION_CODES.get(fault["type"], "invalid_value")
    sentence = fault["msg"].removeprefix("Value error, ")
    return refused(f"{param}: {sentence}" if param else sentence, param=param, code=code)


def _busy(message: str, code: str, retry_after_s: float = 1.0) -> ApiError:
    return ApiError(503, message, code=code, headers={"Retry-After": str(math.ceil(retry_after_s))})


def _innermost() -> str:
    if not has_request_context():  # a stream's, whose request is over
        return "thing"
    for argument, name in _NAMES.items():
        if argument in (request.view_args or {}):
            return name
    return "model"


def register_error_handlers(app: APIFlask) -> None:
    """Make every error of every route an OpenAI-shaped answer."""

    def answer(error: Exception) -> Response:
        return as_api_error(error).response()

    app.error_processor(answer)
    app.register_error_handler(HTTPException, answer)
    app.register_error_handler(Exception, answer)
