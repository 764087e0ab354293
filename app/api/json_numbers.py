"""JSON as the API reads it: a number that is whole is whole however it is spelled, as in JSON Schema (2.0 is an
integer), and what is no number in JSON (NaN, Infinity) is none here."""

from typing import Any

from flask.json.provider import DefaultJSONProvider


class JsonNumbers(DefaultJSONProvider):
    """Keys stay in the order in which answers are made."""

    sort_keys = False

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """What a body says. Raises ValueError for what is no JSON."""
        return super().loads(s, parse_float=_number, parse_constant=_refuse, **kwargs)


def _number(spelled: str) -> int | float:
    number = float(spelled)
    return int(number) if number.is_integer() else number


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number in JSON")
