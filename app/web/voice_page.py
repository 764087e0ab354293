"""The page of one voice: samples, training and versions, read in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from app.web import remark_lines
from app.web.closeness import Closeness
from app.web.remark_lines import RemarkLine
from app.web.run_report import RunReport, newest_report
from app.web.session import me, storage
from app.web.version_page import closeness_in, is_unchanged, report_of
from storage import maintenance, run_times, sample_changes, samples, voices
from storage.models import PrefixVersion, Voice
from storage.readiness import LADDER, WORDS_A_PIECE, Readiness
from storage.samples import Sample

SAMPLES_A_PAGE = 30
VERSIONS_SHOWN = 8  # the newest; the page has all of them for whoever asks
MOST_UPLOAD_BYTES = 32 * 1024 * 1024  # of one form, files and all


@dataclass(frozen=True)
class VoicePage:
    """What the template shows. `shown` is one page of the samples that were looked at, newest first, `lines` what was
    noticed about each, by id. `versions`: the newest of `num_versions`, and the one in use. `closeness`: how close the
    version in use is to the person; None while none is in use."""

    voice: Voice
    shown: Sequence[Sample]
    lines: Mapping[str, Sequence[RemarkLine]]
    num_samples: int
    num_waiting: int
    page: int
    num_pages: int
    included_ids: Sequence[str]
    readiness: Readiness
    report: RunReport | None
    versions: Sequence[PrefixVersion]
    num_versions: int
    closeness: Closeness | None
    held: str | None  # why no training begins just now; None: they do
    takes_s: float | None  # what a training takes, where it is known

    @property
    def fullness(self) -> float:
        """How much has been given of the words to strive for, 0 to 100."""
        goal = self.readiness.goal_words
        return 100.0 if goal is None else round(min(100.0, 100 * self.readiness.num_words / goal), 1)

    @property
    def samples_changed(self) -> bool:
        """Whether another training would have other samples than the newest one had."""
        return self.report is not None and list(self.included_ids) != self.report.run.sample_ids

    @property
    def switched_off(self) -> bool:
        """Whether it could speak, and its person lets no version do so."""
        return bool(self.versions) and self.voice.active_version is None

    @property
    def opens_with(self) -> str:
        """Which section stands first, 'samples' or 'voice': the one with what there is to do next, or to watch."""
        if self.report is not None and self.report.live:
            return "voice"
        return "samples" if self.num_waiting or not self.readiness.enough else "voice"

    @property
    def stage(self) -> str:
        """Where on the thread this voice stands: 'samples', 'voice' or 'write'."""
        if self.voice.active_version is not None:
            return "write"
        return "voice" if self.readiness.enough else "samples"


def read(voice_id: str, page: int, *, all_versions: bool = False) -> VoicePage:
    """Read the page's data. Raises NotFound for another's voice."""
    with storage().database.reading() as session:
        voice = voices.get_voice(session, me().id, voice_id)
        shown, page, count = samples.page_of(
            session, storage().keys, me().id, voice_id, waiting=False, page=page, size=SAMPLES_A_PAGE
        )
        versions = voices.list_versions(session, me().id, voice_id)
        on = maintenance.current(session)
        return VoicePage(
            voice=voice,
            shown=shown,
            lines=remark_lines.of(session, storage().keys, voice, shown, doubts_only=True),
            num_samples=count,
            num_waiting=sample_changes.count_waiting(session, me().id, voice_id),
            page=page,
            num_pages=max(1, -(-count // SAMPLES_A_PAGE)),
            included_ids=samples.included_ids(session, me().id, voice_id),
            readiness=samples.readiness(session, me().id, voice_id),
            report=newest_report(session, me().id, voice_id),
            versions=versions if all_versions else _newest(versions, voice.active_version),
            num_versions=len(versions),
            closeness=_closeness(session, voice, versions),
            held=on.reason if on else None,
            takes_s=run_times.usually_takes(session),
        )


def _newest(versions: Sequence[PrefixVersion], in_use: int | None) -> Sequence[PrefixVersion]:
    return [version for nth, version in enumerate(versions) if nth < VERSIONS_SHOWN or version.version == in_use]


def _closeness(session: Session, voice: Voice, versions: Sequence[PrefixVersion]) -> Closeness | None:
    in_use = next((version for version in versions if version.version == voice.active_version), None)
    return None if in_use is None else closeness_in(session, in_use, report_of(session, in_use))


def show(voice_id: str, *, typed: Mapping[str, str] | None = None, **notices: object) -> str:
    """The page as HTML, with what was typed and what went wrong."""
    return html(asked_for(voice_id), typed=typed, **notices)


def shown_or_unchanged(voice_id: str) -> ResponseReturnValue:
    """The page as HTML; nothing for one that waits for a report and would be told nothing new."""
    page = asked_for(voice_id)
    return ("", 204) if is_unchanged(page.closeness) else html(page)


def asked_for(voice_id: str) -> VoicePage:
    """The page's data, as its address asks for it. Raises NotFound for another's voice."""
    return read(voice_id, request.args.get("page", 1, type=int), all_versions=request.args.get("versions") == "all")


def html(page: VoicePage, *, typed: Mapping[str, str] | None = None, **notices: object) -> str:
    """The page as HTML."""
    return render_template(
        "voice.html",
        page=page,
        voice=page.voice,
        typed=typed or {},
        ladder=LADDER,
        words_a_piece=WORDS_A_PIECE,
        most_upload_bytes=MOST_UPLOAD_BYTES,
        **notices,
    )
