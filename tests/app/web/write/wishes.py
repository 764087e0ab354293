"""What the writing page asks for, and what came of it."""

import json
from typing import Any

from storage import base_models, trials
from storage.models import BlindTrial
from storage.store import Storage
from tests.app.web.browser import Person
from tests.app.web.upstream import Upstream

WISH = {"column": "mine", "before": "Dear all,", "length": "short", "temperature": "0.7", "seed": "5"}
DRAFT = " and by evening the bowl was full and we were not, so we drank his tea and went home"


def register(storage: Storage, *, chat: bool = False) -> None:
    with storage.database.session() as session:
        base_models.register(
            session,
            fingerprint="f" * 64,
            name="tiny-base",
            num_parameters=1,
            context_length=256,
            probe={},
            has_chat_template=chat,
        )


def wish(person: Person, **changes: str) -> dict[str, str]:
    return {**WISH, "voice_id": person.voice.id, **changes}


def asked(upstream: Upstream) -> list[Any]:
    return [json.loads(seen.body) for seen in upstream.seen]


def complaint(answer: Any) -> str:
    return str(answer.json["error"]["message"])


def begin_trial(person: Person, **fields: str) -> str:
    answer = person.browser.post("/write/trials", {"voice_id": person.voice.id, **fields})
    assert answer.status_code == 200
    assert answer.json.keys() == {"trial"}
    return str(answer.json["trial"])


def kept(person: Person, trial_id: str) -> BlindTrial:
    with person.storage.database.reading() as session:
        return trials.get_trial(session, person.user.id, trial_id)
