"""Storage: how much room everybody takes, and who most."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from app.admin.gate import needs
from app.admin.ordering import Order
from app.web.session import storage
from storage import overview
from storage import space as space_store
from storage.space import COLUMNS

space = Blueprint("space", __name__, url_prefix="/storage")
PAGE = 50


@space.get("")
@needs("auditor")
def index() -> ResponseReturnValue:
    """Everybody's share, the largest first unless the address says otherwise."""
    order = Order.read(request.args.get("sort", ""), COLUMNS, default="-total")
    page = max(1, request.args.get("page", 1, type=int))
    by = next(column for column in COLUMNS if column == order.column)
    with storage().database.reading() as session:
        counts = overview.read_overview(session)
        everybody = space_store.of_everybody(session)
        people = space_store.by_person(session, by=by, descending=order.descending, page=page, size=PAGE + 1)
    return render_template(
        "admin/space.html",
        counts=counts,
        everybody=everybody,
        people=people[:PAGE],
        order=order,
        page=page,
        more=len(people) > PAGE,
        sort=f"{'-' if order.descending else ''}{order.column}",
    )
