"""The receipt of an erasure, for whoever holds its number: what went, and whether anything has come back.

Nobody signs in for it, since the account is gone; it tells nothing of a person.
"""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from app.web.session import storage
from app.web.words import counted, ngettext
from storage import receipts as receipt_store

receipts = Blueprint("receipts", __name__, url_prefix="/receipts")
KINDS = {  # table -> so many of its rows
    "voices": counted("%(num)s voice", "%(num)s voices"),
    "writing_samples": counted("%(num)s sample", "%(num)s samples"),
    "prefix_versions": counted("%(num)s trained version", "%(num)s trained versions"),
    "tuning_runs": counted("%(num)s training", "%(num)s trainings"),
    "tuning_events": counted(
        "%(num)s note of what happened in a training", "%(num)s notes of what happened in trainings"
    ),
    "tuning_checkpoints": counted("%(num)s state of a training under way", "%(num)s states of trainings under way"),
    "blind_trials": counted("%(num)s blind vote", "%(num)s blind votes"),
    "uploads": counted("%(num)s training file", "%(num)s training files"),
    "api_keys": counted("%(num)s API key", "%(num)s API keys"),
    "api_usage": counted("%(num)s line of what keys were used for", "%(num)s lines of what keys were used for"),
    "idempotency_keys": counted(
        "%(num)s answer kept for a repeated request", "%(num)s answers kept for repeated requests"
    ),
    "web_sessions": counted("%(num)s signed-in browser", "%(num)s signed-in browsers"),
    "identities": counted("%(num)s connected sign-in", "%(num)s connected sign-ins"),
    "password_links": counted("%(num)s password link", "%(num)s password links"),
    "user_quotas": counted("%(num)s set of quotas", "%(num)s sets of quotas"),
    "notice_settings": counted("%(num)s choice of notices", "%(num)s choices of notices"),
    "deliveries": counted(
        "%(num)s letter or notice sent or to be sent", "%(num)s letters or notices sent or to be sent"
    ),
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


def removed_lines(removed: dict[str, int]) -> list[str]:
    """How many of what, in the order of KINDS."""
    return [ngettext(*forms, removed[table]) for table, forms in KINDS.items() if table in removed]
