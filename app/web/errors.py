"""What people see when something is not there, not allowed or broken: a page with a sentence and the next step.

Where programs read (under /v1, and where the writing page's script asks) the same arrives in OpenAI's error shape.
"""

import math
from dataclasses import dataclass

from flask import Flask, Response, make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, InternalServerError

from app.seats import HouseFull, NoSeat
from app.web import gateway, throttle
from app.web.formats import MINUTE_S, duration, size
from app.web.forms import SentFromElsewhere, SourceUnknown
from app.web.session import app_config
from app.web.typed_text import typed_text
from app.web.words import gettext, marked, told
from storage.errors import Conflict, KeyErased, LimitReached, NoPublishedVersion, NotFound


@dataclass(frozen=True)
class Message:
    """What happened, and what to do next."""

    title: str
    sentence: str

    def said(self) -> "Message":
        """In the reader's language."""
        return Message(gettext(self.title), gettext(self.sentence))


NOT_FOUND = Message(
    marked("There is nothing here"), marked("It may have been deleted, or the address has a slip in it.")
)
STALE = Message(
    marked("This form has gone stale"),
    marked("You signed in or out since you opened it. Reload the page, then send it once more."),
)
SOURCE_UNKNOWN = Message(
    marked("It can't be seen where this form comes from"),
    marked(
        "Your browser, an extension of it or a proxy on the way leaves out the Referer, by which a form from here is "
        "told from a stranger's. Allow it for this site, reload the page, then send the form once more. Nothing was "
        "saved."
    ),
)
FROM_ELSEWHERE = Message(
    marked("This form was sent from another address"),
    marked(
        "Open %(address)s and send it from there; nothing was saved. If that is where you are, tell whoever runs this "
        "platform: IDIOLECT_PUBLIC_URL has to be the address in your browser (docs/deployment.md)."
    ),
)
TOO_MANY_VIEWS = Message(
    marked("This training is on too many pages at once"),
    marked("Close another tab that shows one; a page that waits looks again."),
)
CROWDED = Message(
    marked("Too many people are watching just now"), marked("The training goes on. Reload the page in a few seconds.")
)
RETRY_AFTER_S = "5"
MESSAGES = {
    400: Message(marked("That request could not be read"), marked("Go back, reload the page and try once more.")),
    401: Message(marked("You are signed out"), marked("Sign in, and do that once more.")),
    403: Message(marked("That is not allowed"), marked("If you think it should be, ask an administrator.")),
    404: NOT_FOUND,
    405: Message(marked("That address takes no such request"), marked("Go to the start page and try from there.")),
    500: Message(marked("Something broke on our side"), marked("Try once more; nothing you saved is lost.")),
}


def install(app: Flask) -> None:
    """Register the pages."""
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(CSRFError, stale_form)
    app.register_error_handler(SourceUnknown, lambda _: answer(SOURCE_UNKNOWN.said(), 400))
    app.register_error_handler(SentFromElsewhere, from_elsewhere)
    app.register_error_handler(NotFound, missing)
    app.register_error_handler(KeyErased, missing)
    app.register_error_handler(Conflict, conflict)
    app.register_error_handler(LimitReached, conflict)
    app.register_error_handler(NoPublishedVersion, conflict)
    app.register_error_handler(NoSeat, lambda _: later(TOO_MANY_VIEWS, 429))
    app.register_error_handler(HouseFull, lambda _: later(CROWDED, 503))


def http_error(error: HTTPException) -> ResponseReturnValue:
    """Any HTTP error, the unexpected 500 among them. An error that carries its own response keeps it."""
    if error.response is not None:
        return error.response
    status = error.code or InternalServerError.code
    kept = {name: value for name, value in error.get_headers() if name.lower() in ("allow", "retry-after")}
    message = MESSAGES.get(status, MESSAGES[400]).said()
    if status == 413:
        message = Message(gettext("That was too much at once"), _most_at_once())
    if status == 429:
        message = Message(gettext("That was too often"), _wait())
        kept.setdefault("Retry-After", str(throttle.wait_s()))
    response = answer(message, status)
    response.headers.update(kept)
    return response


def _most_at_once() -> str:
    most, most_text = request.max_content_length, request.max_form_memory_size
    if most is not None and request.content_length is not None and request.content_length > most:
        return gettext("One request may hold %(size)s. Add it in smaller lots.", size=size(most))
    return gettext(
        "One request may hold %(size)s of typed text. Add it in smaller lots.",
        size=size(most_text or app_config().max_body_bytes),
    )


def _wait() -> str:
    seconds = throttle.wait_s()
    if seconds > MINUTE_S:
        seconds = math.ceil(seconds / MINUTE_S) * MINUTE_S  # rather too long than too short
    return gettext("Wait %(time)s, then try again. Nothing is lost.", time=duration(seconds))


def stale_form(error: CSRFError) -> ResponseReturnValue:
    """A form without a good token. The writing page's script knows it by its code, and fetches another."""
    return answer(STALE.said(), 400, code="stale_form")


def from_elsewhere(error: SentFromElsewhere) -> ResponseReturnValue:
    """A form that was sent from a page of another address, and which is the right one."""
    sentence = gettext(FROM_ELSEWHERE.sentence, address=error.address)
    return answer(Message(gettext(FROM_ELSEWHERE.title), sentence), 400)


def missing(error: Exception) -> ResponseReturnValue:
    """Not there, or another's: the two look the same."""
    return answer(NOT_FOUND.said(), 404)


def conflict(error: Exception) -> ResponseReturnValue:
    """The request contradicts what is there; storage says it in a sentence."""
    return answer(Message(gettext("That can't be done now"), told(str(error))), 409)


def later(message: Message, status: int) -> ResponseReturnValue:
    """Not now, and when to ask again."""
    response = answer(message.said(), status)
    response.headers["Retry-After"] = RETRY_AFTER_S
    return response


def answer(message: Message, status: int, code: str | None = None) -> Response:
    """A page for people, with what they had typed, so that it can be copied; OpenAI's error shape for programs."""
    if gateway.asked_by_program():
        return gateway.refusal(status, f"{message.title}. {message.sentence}", code=code)
    page = render_template("error.html", message=message, status=status, typed=typed_text())
    return make_response(page, status)
