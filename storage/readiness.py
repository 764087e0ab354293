"""Whether a voice has enough writing to be trained, and what more of it would bring: in words that were measured.

The figures are those of docs/likeness.md ("What more pieces bring"): medians over other authors, on the bundled model.
They say what to expect, and promise nothing. Knows no sample's text.
"""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage import voices
from storage.models import WritingSample

ENOUGH_SAMPLES = 3
ENOUGH_WORDS = 300  # in fewer than three samples
LEAST_WORDS = 100  # in however many


@dataclass(frozen=True)
class Rung:
    """What so many pieces of about WORDS_A_PIECE words brought: how much closer to several authors than the
    base model their voices came, in per cent."""

    pieces: int
    closer_pct: float

    @property
    def words(self) -> int:
        """About so many words in all."""
        return self.pieces * WORDS_A_PIECE


WORDS_A_PIECE = 200
LADDER = (Rung(3, 0.7), Rung(5, 0.8), Rung(20, 1.4), Rung(40, 1.7))
GOOD_WORDS = LADDER[-1].words
NEXT_RUNG = 2  # to strive for at first: five pieces hardly bring more than three


@dataclass(frozen=True)
class Readiness:
    """Whether a voice can be trained, over its included samples, and a sentence for its owner."""

    num_samples: int
    num_words: int
    enough: bool
    sentence: str

    @property
    def rungs(self) -> int:
        """How many of LADDER it has the words for."""
        return _rungs(self.num_words)

    @property
    def goal_words(self) -> int | None:
        """How many words to strive for next, those of the sentence; None: beyond what it has nothing was measured."""
        return _goal(self.num_samples, self.num_words, self.enough)

    @property
    def missing_words(self) -> int:
        """How many words are missing to that; 0 where there is none."""
        return max(0, (self.goal_words or 0) - self.num_words)


def readiness(session: Session, user_id: str, voice_id: str) -> Readiness:
    """How far the included samples go. Raises NotFound."""
    voices.get_voice(session, user_id, voice_id)
    num_samples, num_words = session.execute(
        select(func.count(), func.coalesce(func.sum(WritingSample.num_words), 0)).where(
            WritingSample.voice_id == voice_id, WritingSample.user_id == user_id, WritingSample.included
        )
    ).one()
    enough = num_words >= ENOUGH_WORDS or (num_samples >= ENOUGH_SAMPLES and num_words >= LEAST_WORDS)
    return Readiness(num_samples, num_words, enough, _sentence(num_samples, num_words, enough))


def _rungs(num_words: int) -> int:
    return sum(num_words >= rung.words for rung in LADDER)


def _goal(num_samples: int, num_words: int, enough: bool) -> int | None:
    if not enough:
        return LEAST_WORDS if num_samples >= ENOUGH_SAMPLES else ENOUGH_WORDS
    there = _next_rung(num_words)
    return there.words if there else None


def _next_rung(num_words: int) -> Rung | None:
    rungs = _rungs(num_words)
    return None if rungs == len(LADDER) else LADDER[max(rungs, NEXT_RUNG)]


def _sentence(num_samples: int, num_words: int, enough: bool) -> str:
    if num_samples == 0:
        return (
            f"Add a few things you have written: {ENOUGH_SAMPLES} pieces, or about {ENOUGH_WORDS} words in all, "
            "are enough to begin."
        )
    if not enough and num_samples >= ENOUGH_SAMPLES:
        return f"A little more: about {LEAST_WORDS - num_words} more words and you can train."
    if not enough:
        pieces = ENOUGH_SAMPLES - num_samples
        words = ENOUGH_WORDS - num_words
        if pieces == 1:
            return f"A little more: 1 more piece, or about {words} more words, and you can train."
        return f"A little more: {pieces} more pieces, or about {words} more words, and you can train."
    there = _next_rung(num_words)
    if there is None:
        return (
            "Plenty to learn from. Nothing beyond this much has been measured; other kinds of writing may help more "
            "than more of the same."
        )
    missing, rungs = there.words - num_words, _rungs(num_words)
    if not rungs:
        return (
            f"Enough to begin. About {missing:,} more words would make it {there.words:,}: that much brought the "
            f"voices of other authors {there.closer_pct} % closer to them."
        )
    here = LADDER[rungs - 1]
    return (
        f"Enough to begin. About {missing:,} more words would make it {there.words:,}: that much brought the voices of "
        f"other authors {there.closer_pct} % closer to them, where {here.words:,} words brought {here.closer_pct} %."
    )
