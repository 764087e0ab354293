"""The receipt of an erasure, for whoever holds its number: what went, and whether anything has come back.

Nobody signs in for it, since the account is gone; it tells nothing of a person.
"""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from app.web.session import storage
from storage import receipts as receipt_store

receipts = Blueprint("receipts", __name__, url_prefix="/receipts")
KINDS = {  # table -> what its rows are called, one and many
    "voices": ("voice", "voices"),
    "writing_samples": ("sample", "samples"),
    "prefix_versions": ("trained version", "trained versions"),
    "tuning_runs": ("training", "trainings"),
    "tuning_events": ("note of what happened in a training", "notes of what happened in trainings"),
    "tuning_checkpoints": ("state of a training under way", "states of trainings under way"),
    "blind_trials": ("blind vote", "blind votes"),
    "uploads": ("training file", "training files"),
    "api_keys": ("API key", "API keys"),
    "api_usage": ("line of what keys were used for", "lines of what keys were used for"),
    "idempotency_keys": ("answer kept for a repeated request", "answers kept for repeated requests"),
    "web_sessions": ("signed-in browser", "signed-in browsers"),
    "identities": ("connected sign-in", "connected sign-ins"),
    "password_links": ("password link", "password links"),
    "user_quotas": ("set of quotas", "sets of quotas"),
    "notice_settings": ("choice of notices", "choices of notices"),
    "deliveries": ("letter or notice sent or to be sent", "letters or notices sent or to be sent"),
}


@receipts.app_context_processor
def shown() -> dict[str, object]:
    """`removed_lines`, for the page after a deletion too."""
    return {"removed_lines": removed_lines}


@receipts.get("/<receipt_id>")
def show(receipt_id: str) -> ResponseReturnValue:
    """What went, when, and what is there now."""
    standing = receipt_store.look_up(storage(), receipt_id)
    return render_template("receipt.html", receipt=standing.receipt, standing=standing)


def removed_lines(removed: dict[str, int]) -> list[tuple[int, str, str]]:
    """How many of what, in the order of KINDS."""
    return [(removed[table], *names) for table, names in KINDS.items() if table in removed]
