"""What would make a voice better, from what was measured of it: plain sentences, the most useful first, and none that
no figure stands behind. Knows no HTML and no storage."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.web.closeness import FEW_JUDGING, LEAST_WHOLE, SAME_DISTANCE
from app.web.formats import figure, number
from app.web.words import gettext
from storage.readiness import Readiness

LONG_RUN_WORDS = 10  # word for word from a sample; shorter ones are turns of phrase
COSTLY_PCT = 5.0


def advice(
    figures: Mapping[str, Any], report: Mapping[str, Any], readiness: Readiness, *, samples_changed: bool
) -> list[str]:
    """Sentences to act on, in the order in which to try them."""
    return [*_of_samples(figures, readiness, samples_changed), *_of_report(figures, report)]


def _of_samples(figures: Mapping[str, Any], readiness: Readiness, samples_changed: bool) -> Iterator[str]:
    given, judging = figure(figures, "samples"), figure(figures, "test_samples")
    if samples_changed:
        yield gettext(
            "Your samples are others than at the last training: train again, and it learns from them as they are."
        )
    if readiness.goal_words is not None and readiness.missing_words:
        yield gettext(
            "More of your writing: about %(words)s more words, which would make it %(goal)s, are worth the most, above "
            "all longer, finished pieces.",
            words=number(readiness.missing_words),
            goal=number(readiness.goal_words),
        )
    if given is not None and given < LEAST_WHOLE:
        yield gettext(
            "More pieces than %(given)s: from %(least)s on, whole pieces are kept back to judge by, and the figure "
            "means more.",
            given=number(given),
            least=LEAST_WHOLE,
        )
    elif judging is not None and judging <= FEW_JUDGING:
        yield gettext(
            "More pieces, even short ones: a fifth of them judges, so the figure becomes surer with their number."
        )


def _of_report(figures: Mapping[str, Any], report: Mapping[str, Any]) -> Iterator[str]:
    voice, shown = figure(figures, "voice_bits_per_char"), figure(report, "in_context_bits_per_char")
    if voice is not None and shown is not None and shown < voice:
        yield gettext(
            "The base model that is shown your samples guesses you better than this voice does: it has more to learn "
            "from what you gave. Train again with more of the same kind."
        )
    distances, overlap = report.get("style_distance"), report.get("longest_overlap")
    base, mine = (figure(distances, name) if isinstance(distances, dict) else None for name in ("base", "voice"))
    if base is not None and mine is not None and mine > (1 + SAME_DISTANCE) * base:
        yield gettext(
            "Leave out samples that are not typical of you: its small words and punctuation are farther from yours."
        )
    repeated = figure(overlap, "words") if isinstance(overlap, dict) else None
    if repeated is not None and repeated >= LONG_RUN_WORDS:
        yield gettext(
            "It repeated %(words)s words of a sample in a row. If that is too near, lower its strength, or give it "
            "more kinds of them.",
            words=number(repeated),
        )
    rise = figure(report, "neutral_rise_pct")
    if rise is not None and rise >= COSTLY_PCT:
        yield gettext("Being like you has cost it some skill at other writing: where that shows, lower its strength.")
