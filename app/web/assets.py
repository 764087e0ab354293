"""Addresses of the static files, each with a piece of its hash, so that browsers keep them until they change."""

import hashlib
from pathlib import Path

from flask import Flask, url_for

STATIC = Path(__file__).parent / "static"
YEAR_S = 365 * 24 * 3600


def install(app: Flask) -> None:
    """Give templates `asset(name)`."""
    versions = {
        str(path.relative_to(STATIC)): hashlib.sha256(path.read_bytes()).hexdigest()[:10]
        for path in STATIC.rglob("*")
        if path.is_file()
    }

    def asset(name: str) -> str:
        return url_for("static", filename=name, v=versions[name])

    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = YEAR_S
    app.add_template_global(asset)
