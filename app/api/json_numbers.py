"""JSON as the API reads it: a number that is whole is whole however it is spelled, as in JSON Schema (2.0 is an
integer), what is no number in JSON (NaN, Infinity) is none here, and what holds more values than any request needs is
refused before one of them is made: reading and judging millions would hold up everybody else."""

import json
import re
from typing import Any

from flask.json.provider import DefaultJSONProvider

from app.api.errors import ApiError

MOST_VALUES = 1 << 18
# Its end may be missing: what is no JSON must not be searched from each of its quotation marks to its end.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


class JsonNumbers(DefaultJSONProvider):
    """Keys stay in the order in which answers are made."""

    sort_keys = False

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """What a body says. Raises ValueError for what is no JSON, and ApiError for more than MOST_VALUES."""
        text = s if isinstance(s, str) else s.decode(json.detect_encoding(s), "surrogatepass")
        _refuse_too_many_values(text)
        try:
            return super().loads(text, parse_float=_number, parse_constant=_refuse, **kwargs)
        except RecursionError as deep:
            raise ValueError("nested too deeply") from deep


def _refuse_too_many_values(text: str) -> None:
    if _num_values(text) <= MOST_VALUES:  # what stands in texts is counted here, too
        return
    if _num_values(_STRING.sub("", text)) > MOST_VALUES:
        message = (
            f"The body may hold at most {MOST_VALUES} values: the items of its lists and the fields of its objects. "
            "Send less in one request; a long prompt is fewer values as a text than as token ids."
        )
        raise ApiError(413, message, code="request_too_large")


def _num_values(text: str) -> int:
    """At most so many: a list or an object of n values has n - 1 commas."""
    return 1 + text.count(",") + text.count("[") + text.count("{")


def _number(spelled: str) -> int | float:
    number = float(spelled)
    return int(number) if number.is_integer() else number


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number in JSON")
