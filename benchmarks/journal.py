"""A benchmark's results so far, one JSON object a line, so that it goes on where it was interrupted. Knows nothing of
what is measured."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Journal:
    """Results by key; a key is everything that decides a result, so another configuration never finds an old one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self._known: dict[str, Any] = {row["key"]: row["result"] for row in map(json.loads, lines)}

    def once(self, key: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result for `key`: kept from before, or measured now and kept."""
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        if digest not in self._known:
            self._known[digest] = measure()
            with self._path.open("a") as out:
                out.write(json.dumps({"key": digest, "what": key, "result": self._known[digest]}) + "\n")
        found: dict[str, Any] = self._known[digest]
        return found
