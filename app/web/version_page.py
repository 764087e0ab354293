"""The report of one version of a voice: how close it is, in figures and pictures, on how much that rests, what its
owner chose blindly, and what would make it better. Read in one transaction."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from app.web.advice import advice
from app.web.closeness import Closeness, closeness_of, rests_on
from app.web.session import me, storage
from app.web.style_picture import StylePicture, picture_of
from app.web.votes import Verdict, verdicts
from storage import reports, run_times, samples, trials, tuning_runs, voices
from storage.errors import IntegrityError, KeyErased
from storage.models import PrefixVersion, Voice

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VersionPage:
    """What the template shows. style: None where it was not measured, or can't be said."""

    voice: Voice
    version: PrefixVersion
    versions: Sequence[PrefixVersion]
    closeness: Closeness
    style: StylePicture | None
    rests_on: str
    verdicts: Sequence[Verdict]
    advice: Sequence[str]


def read(voice_id: str, number: int) -> VersionPage:
    """Read the page's data. Raises NotFound for another's voice or no such version."""
    with storage().database.reading() as session:
        voice = voices.get_voice(session, me().id, voice_id)
        version = voices.get_version(session, me().id, voice_id, number)
        report = report_of(session, version)
        given = tuning_runs.get_run(session, me().id, version.run_id).sample_ids
        return VersionPage(
            voice=voice,
            version=version,
            versions=voices.list_versions(session, me().id, voice_id),
            closeness=closeness_in(session, version, report),
            style=picture_of(report or {}),
            rests_on=rests_on(version.figures),
            verdicts=verdicts(trials.tallies(session, me().id, voice_id, number)),
            advice=advice(
                version.figures,
                report or {},
                samples.readiness(session, me().id, voice_id),
                samples_changed=samples.included_ids(session, me().id, voice_id) != given,
            ),
        )


def closeness_in(session: Session, version: PrefixVersion, report: Mapping[str, Any] | None) -> Closeness:
    """How close a version is by its report, or what that waits for."""
    behind = run_times.trainings_before_report(session, version) if report is None else None
    return closeness_of(version, report, behind)


def report_of(session: Session, version: PrefixVersion) -> Mapping[str, Any] | None:
    """What was measured of a version, None where nothing was (yet). One that does not open is empty, and a line of the
    log: a page has more to say than that."""
    try:
        return reports.read_report(session, storage().keys, version.user_id, version.voice_id, version.version)
    except (IntegrityError, KeyErased) as why:
        place = (version.voice_id, version.version, type(why).__name__)
        logger.error("%s: the report of version %d did not open (%s)", *place)
        return {}


def is_unchanged(closeness: Closeness | None) -> bool:
    """Whether a page that waits for a report, and asks for it again and again, shows already what there is to say."""
    return closeness is not None and bool(closeness.mark) and request.args.get("seen") == closeness.mark


def show(voice_id: str, number: int) -> ResponseReturnValue:
    """The page as HTML; nothing for one that waits for the report and would be told nothing new."""
    page = read(voice_id, number)
    if is_unchanged(page.closeness):
        return "", 204
    return render_template("version.html", page=page, voice=page.voice, version=page.version)
