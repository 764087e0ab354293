"""What a person is told of administrators who read their writing (when, who, which sample, and why), or who made a link
by which they could have: when, who, and whether it was used."""

from flask import Blueprint, Flask, render_template
from flask.typing import ResponseReturnValue

from app.web.session import me, sign_in_required, storage
from storage import break_glass, clock, password_links
from storage.break_glass import Reading
from storage.password_links import HandedLink

readings = Blueprint("readings", __name__)
readings.before_request(sign_in_required)


def install(app: Flask) -> None:
    """Give templates `my_readings()` and `my_links()`, for the lines about them on the account's page."""
    app.add_template_global(my_readings)
    app.add_template_global(my_links)


def my_readings() -> list[Reading]:
    """Of the signed-in person's writing."""
    with storage().database.reading() as session:
        return break_glass.list_readings(session, me().id)


def my_links() -> list[HandedLink]:
    """To the signed-in person's account, made by administrators."""
    with storage().database.reading() as session:
        return password_links.list_handed(session, me().id)


@readings.get("/account/readings")
def show() -> ResponseReturnValue:
    """All of them."""
    good_since = clock.now() - password_links.BY_HAND_S
    return render_template("readings.html", readings=my_readings(), links=my_links(), good_since=good_since)
