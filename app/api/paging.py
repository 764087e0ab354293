"""One page of a list as OpenAI's clients page: at most `limit` things, those after the id `after`."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from app.api.errors import ApiError


class HasId(Protocol):
    """Something that a list can be paged by."""

    @property
    def id(self) -> str: ...


class Asked(Protocol):
    """Which part of a list."""

    @property
    def after(self) -> str | None: ...

    @property
    def limit(self) -> int: ...


def unknown_after() -> ApiError:
    """404: the list has nothing of this id."""
    return ApiError(404, "after must be the id of something in this list.", code="after_not_found", param="after")


Item = TypeVar("Item", bound=HasId)


def page_of(items: Sequence[Item], page: Asked) -> tuple[Sequence[Item], bool]:
    """(the page, is there more after it) of a list that is short enough to be read whole."""
    start = 0
    if page.after is not None:
        ids = [item.id for item in items]
        if page.after not in ids:
            raise unknown_after()
        start = ids.index(page.after) + 1
    return items[start : start + page.limit], start + page.limit < len(items)
