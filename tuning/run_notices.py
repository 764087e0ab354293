"""What a notice of a training's end says: that it ended, how, and by which figure.

None of the person's text is in it, and no name that they gave to anything.
"""

import json
from typing import Any

from storage import notices, tuning_runs, users, voices
from storage.deliveries import Due
from storage.errors import NotFound
from storage.models import TuningRun, User
from storage.notices import Notices
from storage.store import Storage
from tuning.webhook import Notice

EVENT = "tuning_run.ended"
FIGURES = ("reduction_pct", "voice_bits_per_char", "base_bits_per_char")


def words(storage: Storage, due: Due) -> tuple[User, str, str]:
    """Whom to write to, the subject, and the text before the link to the run. Raises NotFound: the person wants no mail
    any more, or the run is gone."""
    run, wanted = _run_and_wishes(storage, due)
    if not wanted.by_mail:
        raise NotFound("no mail is wanted")
    with storage.database.reading() as session:
        user = users.get_user(session, due.user_id)
    return user, *_sentence(run)


def notice(storage: Storage, due: Due) -> Notice:
    """The signed POST. Raises NotFound as above, KeyErased."""
    run, wanted = _run_and_wishes(storage, due)
    if wanted.webhook is None:
        raise NotFound("no webhook is wanted")
    body = {"type": EVENT, "id": due.id, "created_at": int(run.finished_at or 0), "data": _facts(storage, run)}
    return Notice(due.id, wanted.webhook.url, wanted.webhook.secret, json.dumps(body, allow_nan=False).encode())


def _run_and_wishes(storage: Storage, due: Due) -> tuple[TuningRun, Notices]:
    with storage.database.reading() as session:
        run = tuning_runs.get_run(session, due.user_id, due.run_id or "")
        return run, notices.read(session, storage.keys, due.user_id)


def _facts(storage: Storage, run: TuningRun) -> dict[str, Any]:
    version = None
    if run.published:
        with storage.database.reading() as session:
            version = voices.published_by(session, run.user_id, run.id).version
    return {
        "run": run.id,
        "voice": run.voice_id,
        "state": run.state,
        "published": bool(run.published),
        "version": version,
        "error_code": run.error_code,
        "figures": {name: run.figures[name] for name in FIGURES if name in run.figures},
    }


def _sentence(run: TuningRun) -> tuple[str, str]:
    match run.state:
        case "succeeded" if run.published:
            return "Your voice is trained", "The training has ended well: a new version of your voice is in use."
        case "succeeded":
            text = "The training has ended, and nothing was changed: the new version would have been no closer to you."
            return "Your training has ended", f"{text} What was measured, and what would help, is here:"
        case "cancelled":
            return "Your training was stopped", "The training was stopped before its end. Your voice is as it was."
        case _:
            return (
                "Your training has failed",
                "The training has failed. Nothing of yours is lost; what happened is here:",
            )
