"""People with accounts, keys, voices and published versions, made by the thousand as rows: what a platform has after
years, with some of them able to speak. Knows nothing of what is measured with them."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sqlalchemy import insert
from sqlalchemy.orm import Session

from storage import api_keys, clock, crypto
from storage.ids import new_id
from storage.models import ApiKey, Base, PrefixVersion, TuningRun, User, Voice
from storage.prefixes import PrefixAddress
from storage.store import Storage
from tuning.base_model import BaseModel
from tuning.config import TuningConfig
from tuning.population import load_population
from tuning.prefix import Prefix

_BATCH = 1000
_SHORT = 64  # bytes in the place of a prefix that nobody ever asks for
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Person:
    """Somebody whose voice can be asked for."""

    user_id: str
    voice_id: str
    key: str


@dataclass(frozen=True)
class Stored:
    """The prefix that everybody has: as it is stored, and what its row says of it."""

    data: bytes
    base_fingerprint: str
    num_virtual_tokens: int


def shared_prefix(base: BaseModel, config: TuningConfig) -> Stored:
    """The population prefix, so that answers are text; without one, noise of the default length. The same values for
    everybody make answers as long on every side of a comparison; each copy is sealed, read and opened by itself."""
    prefix = load_population(config, base) or _noise(base, config.num_virtual_tokens)
    return Stored(prefix.to_bytes(), base.fingerprint, prefix.num_virtual_tokens)


def register(storage: Storage, stored: Stored, count: int, speaking: int) -> list[Person]:
    """Make `count` people, each with an account, a data key, an API key, a voice and a published version in use.

    `speaking` of them, spread evenly, can be asked for: their prefixes are of full size and sealed with their own keys.
    The others' rows are the same but for the sealed bytes, which are few and which nobody ever reads.
    """
    chosen = {number * count // speaking for number in range(speaking)}
    people: list[Person] = []
    for start in range(0, count, _BATCH):
        numbers = range(start, min(count, start + _BATCH))
        ids = {number: (new_id("user"), new_id("voice")) for number in numbers}
        storage.keys.create_all(user_id for user_id, _ in ids.values())
        with storage.database.session() as session:
            _add_rows(session, storage, stored, ids, chosen)
            for number in chosen.intersection(numbers):
                user_id, voice_id = ids[number]
                _, secret = api_keys.create_key(session, user_id, "benchmark")
                people.append(Person(user_id, voice_id, secret))
    return people


def note_key_use(storage: Storage, people: Sequence[Person]) -> None:
    """As if their keys had just been used. What is written down of that once a minute is the key's cost, not the
    prefix's."""
    with storage.database.session() as session:
        for person in people:
            for key in api_keys.list_keys(session, person.user_id):
                api_keys.touch(session, key.id)


def _add_rows(
    session: Session, storage: Storage, stored: Stored, ids: dict[int, tuple[str, str]], chosen: set[int]
) -> None:
    tables: dict[type[Base], Rows] = {User: [], Voice: [], ApiKey: [], TuningRun: [], PrefixVersion: []}
    for number, (user_id, voice_id) in ids.items():
        if number in chosen:
            address = PrefixAddress(user_id, voice_id, 1, stored.base_fingerprint)
            sealed = crypto.seal(storage.keys.data_key(user_id), stored.data, *address.parts)
        else:
            sealed = secrets.token_bytes(_SHORT)
        for table, row in _rows(stored, user_id, voice_id, sealed):
            if table is not ApiKey or number not in chosen:
                tables[table].append(row)
    for table, rows in tables.items():
        if rows:
            session.execute(insert(table), rows)


def _rows(stored: Stored, user_id: str, voice_id: str, sealed: bytes) -> Iterator[tuple[type[Base], dict[str, Any]]]:
    at, run_id = clock.now(), new_id("run")
    mine = {"user_id": user_id, "created_at": at}
    figures = {"reduction_pct": 1.5}
    account = {"email": f"{user_id}@example.org", "password_hash": "$argon2id$" + "x" * 80, "role": "writer"}
    yield User, account | {"id": user_id, "state": "active", "created_at": at}
    yield Voice, mine | {"id": voice_id, "name": "My voice", "active_version": 1}
    key = {"id": new_id("key"), "name": "laptop", "hint": "idl-abcd…", "key_hash": secrets.token_hex(32)}
    yield ApiKey, mine | key | {"last_used_at": None, "revoked_at": None}
    run = {"id": run_id, "voice_id": voice_id, "state": "succeeded", "sample_ids": [], "figures": figures}
    yield TuningRun, mine | run | {"published": True, "finished_at": at}
    version = {"id": new_id("prefix"), "voice_id": voice_id, "run_id": run_id, "version": 1, "sealed": sealed}
    described = {"num_virtual_tokens": stored.num_virtual_tokens, "num_bytes": len(stored.data), "figures": figures}
    yield PrefixVersion, mine | version | described | {"base_fingerprint": stored.base_fingerprint}


def _noise(base: BaseModel, num_virtual_tokens: int) -> Prefix:
    drawn = torch.Generator().manual_seed(0)
    shapes = [(heads, num_virtual_tokens, width) for heads, width in base.layer_shapes]
    keys, values = (tuple(torch.randn(shape, generator=drawn) / 10 for shape in shapes) for _ in range(2))
    return Prefix(keys, values, base.fingerprint)
