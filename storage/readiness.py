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
LADDER = (Rung(3, 2.9), Rung(5, 3.2), Rung(20, 4.2), Rung(40, 4.5))
GOOD_WORDS = LADDER[-1].words


@dataclass(frozen=True)
class Readiness:
    """Whether a voice can be trained, over its included samples, and what to say of it to its owner."""

    num_samples: int
    num_words: int

    @property
    def enough(self) -> bool:
        """Whether it can be trained."""
        return self.num_words >= ENOUGH_WORDS or (self.num_samples >= ENOUGH_SAMPLES and self.num_words >= LEAST_WORDS)

    @property
    def rungs(self) -> int:
        """How many of LADDER it has the words for."""
        return sum(self.num_words >= rung.words for rung in LADDER)

    @property
    def goal_words(self) -> int | None:
        """How many words to strive for next, those of the sentence; None: beyond what it has nothing was measured."""
        if not self.enough:
            return LEAST_WORDS if self.num_samples >= ENOUGH_SAMPLES else ENOUGH_WORDS
        return None if self.rungs == len(LADDER) else self._next.words

    @property
    def missing_words(self) -> int:
        """How many words are missing to that; 0 where there is none."""
        return max(0, (self.goal_words or 0) - self.num_words)

    @property
    def sentence(self) -> str:
        """For its owner."""
        missing = f"{self.missing_words:,}"
        if self.num_samples == 0:
            return (
                f"Add a few things you have written: {ENOUGH_SAMPLES} pieces with {LEAST_WORDS} words between them, or "
                f"about {ENOUGH_WORDS} words in all, are enough to begin."
            )
        if not self.enough and self.num_samples >= ENOUGH_SAMPLES:
            return f"A little more: about {missing} more words and you can train."
        if not self.enough:
            return self._fewer_than_enough_samples(missing)
        if self.rungs == len(LADDER):
            return (
                "Plenty to learn from. Nothing beyond this much has been measured; other kinds of writing may help "
                "more than more of the same."
            )
        there = self._next
        if not self.rungs:
            return (
                f"Enough to begin. About {missing} more words would make it {there.words:,}: that much brought the "
                f"voices of other authors {there.closer_pct} % closer to them."
            )
        here = LADDER[self.rungs - 1]
        return (
            f"Enough to begin. About {missing} more words would make it {there.words:,}: that much brought the voices "
            f"of other authors {there.closer_pct} % closer to them, where {here.words:,} words brought "
            f"{here.closer_pct} %."
        )

    def _fewer_than_enough_samples(self, missing: str) -> str:
        """The two ways on: more pieces, which need a few words between them all, or more words in however many."""
        pieces = ENOUGH_SAMPLES - self.num_samples  # whole sentences, for translators
        if self.num_words >= LEAST_WORDS:
            if pieces == 1:
                return f"A little more: 1 more piece, or about {missing} more words, and you can train."
            return f"A little more: {pieces} more pieces, or about {missing} more words, and you can train."
        if pieces == 1:
            return (
                f"A little more: 1 more piece, so that all {ENOUGH_SAMPLES} have {LEAST_WORDS} words between them, or "
                f"about {missing} more words, and you can train."
            )
        return (
            f"A little more: {pieces} more pieces, so that all {ENOUGH_SAMPLES} have {LEAST_WORDS} words between "
            f"them, or about {missing} more words, and you can train."
        )

    @property
    def _next(self) -> Rung:
        return LADDER[self.rungs]


def readiness(session: Session, user_id: str, voice_id: str) -> Readiness:
    """How far the included samples go. Raises NotFound."""
    voices.get_voice(session, user_id, voice_id)
    num_samples, num_words = session.execute(
        select(func.count(), func.coalesce(func.sum(WritingSample.num_words), 0)).where(
            WritingSample.voice_id == voice_id, WritingSample.user_id == user_id, WritingSample.included
        )
    ).one()
    return Readiness(num_samples, num_words)
