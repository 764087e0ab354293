"""Who may do what in the console. Every view says with `needs` the least role it takes; the console's one door asks for
it before any view runs, and the pages ask here what to offer. A view that says nothing is nobody's."""

from collections.abc import Callable
from typing import TypeVar, get_args

from flask import current_app, render_template, request
from flask.typing import ResponseReturnValue

from app.web import session
from app.web.words import marked
from storage.models import ConsoleRole

ROLES: tuple[ConsoleRole, ...] = get_args(ConsoleRole)  # each may do what those before it may
STATIC = "admin.static"
SAYS: dict[ConsoleRole, str] = {
    "auditor": marked("looks at everything and changes nothing"),
    "operator": marked("also cares for runs, workers and cache, revokes keys and suspends writers"),
    "owner": marked(
        "also makes accounts, says who is what here, sets quotas, erases people, and can read a sample where a reason "
        "is given"
    ),
}
YOU_ARE: dict[ConsoleRole, str] = {
    "auditor": marked("You are an auditor here, who looks at everything and changes nothing."),
    "operator": marked(
        "You are an operator here, who also cares for runs, workers and cache, revokes keys and suspends writers."
    ),
    "owner": marked(
        "You are an owner here, who also makes accounts, says who is what here, sets quotas, erases people, and can "
        "read a sample where a reason is given."
    ),
}
NAMES = (marked("auditor"), marked("operator"), marked("owner"))
_LEAST = "console_role"

View = TypeVar("View", bound=Callable[..., ResponseReturnValue])


def needs(least: ConsoleRole) -> Callable[[View], View]:
    """Declare what a view takes; to stand below its route."""

    def declare(view: View) -> View:
        setattr(view, _LEAST, least)
        return view

    return declare


def least_role(endpoint: str) -> ConsoleRole | None:
    """What the view of this endpoint takes; None: it says nothing."""
    if endpoint == STATIC:
        return ROLES[0]
    return getattr(current_app.view_functions[endpoint], _LEAST, None)


def can(endpoint: str) -> bool:
    """Whether the person of this request may use it."""
    least, mine = least_role(endpoint), session.me().console
    return least is not None and mine is not None and ROLES.index(mine) >= ROLES.index(least)


def door() -> ResponseReturnValue | None:
    """For `before_request` of the console: strangers sign in, writers find nothing here, and administrators whose role
    is too small are told whose it takes."""
    answer = session.admin_required()
    if answer is None and request.endpoint and not can(request.endpoint):
        least = least_role(request.endpoint)
        return render_template("admin/refused.html", least=least, mine=session.me().console, you_are=YOU_ARE), 403
    return answer
