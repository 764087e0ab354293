"""What a person is told of administrators who read their writing: when, who, which sample, and why."""

from flask import Blueprint, Flask, render_template
from flask.typing import ResponseReturnValue

from app.web.session import me, sign_in_required, storage
from storage import break_glass
from storage.break_glass import Reading

readings = Blueprint("readings", __name__)
readings.before_request(sign_in_required)


def install(app: Flask) -> None:
    """Give templates `my_readings()`, for the line about them on the account's page."""
    app.add_template_global(my_readings)


def my_readings() -> list[Reading]:
    """Of the signed-in person's writing."""
    with storage().database.reading() as session:
        return break_glass.list_readings(session, me().id)


@readings.get("/account/readings")
def show() -> ResponseReturnValue:
    """All of them."""
    return render_template("readings.html", readings=my_readings())
