"""The API role as gunicorn runs it, whose engine breaks at a prompt that holds "!": once, since the file that the
environment names as BROKEN then says that it has."""

import os
from pathlib import Path
from typing import Any

from apiflask import APIFlask

from app.api import factory
from app.api.services import EXTENSION


def create_app() -> APIFlask:
    """The app, with its engine's runner watched."""
    app, broken = factory.create_app(), Path(os.environ["BROKEN"])
    runner = app.extensions[EXTENSION].engine._runner
    mark = app.extensions[EXTENSION].base.encode("!", document_start=False)[0]
    run = runner.run

    def run_or_break(writing: list[Any], reading: list[Any]) -> Any:
        if not broken.exists() and any(mark in sequence.prompt for sequence, _ in reading):
            broken.touch()
            raise RuntimeError("the device is gone")
        return run(writing, reading)

    runner.run = run_or_break
    return app
