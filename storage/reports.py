"""What was measured of a published version, beside its figures: sealed with its owner, voice and version as associated
data, in the database alone. What a report says is tuning.voice_report's."""

import json
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import crypto
from storage.errors import NotFound
from storage.keys import KeyStore
from storage.models import PrefixVersion


def add_report(session: Session, keys: KeyStore, user_id: str, run_id: str, report: dict[str, Any]) -> None:
    """Add, sealed, what was measured of the version that this run of the person published. Raises KeyErased, NotFound:
    the version is gone, is another's, or has its report."""
    # Before the first statement, from which SQLite's write lock is held.
    key, plain = keys.data_key(user_id), json.dumps(report, allow_nan=False).encode()
    unmeasured = select(PrefixVersion).where(
        PrefixVersion.run_id == run_id, PrefixVersion.user_id == user_id, PrefixVersion.report_sealed.is_(None)
    )
    version = session.scalar(unmeasured.with_for_update())
    if version is None:
        raise NotFound("no such version")
    version.report_sealed = crypto.seal(key, plain, *_parts(user_id, version.voice_id, version.version))
    session.flush()


def read_report(session: Session, keys: KeyStore, user_id: str, voice_id: str, version: int) -> dict[str, Any] | None:
    """What was measured of a version of the person's, None where nothing was (yet). Hand it to no one but its owner's
    page or API answer. Raises NotFound, KeyErased, IntegrityError."""
    found = session.execute(
        select(PrefixVersion.report_sealed).where(
            PrefixVersion.voice_id == voice_id, PrefixVersion.user_id == user_id, PrefixVersion.version == version
        )
    ).one_or_none()
    if found is None:
        raise NotFound("no such version")
    if found.report_sealed is None:
        return None
    plain = crypto.unseal(keys.data_key(user_id), found.report_sealed, *_parts(user_id, voice_id, version))
    return cast(dict[str, Any], json.loads(plain))


def _parts(user_id: str, voice_id: str, version: int) -> tuple[str, ...]:
    return ("report", user_id, voice_id, str(version))
