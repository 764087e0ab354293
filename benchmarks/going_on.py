"""`python -m benchmarks.going_on --authors FILE …`: what it saves to go on from a version when new samples have come.

Per author: a version is trained on 20 samples; then 20 more come, and all 40 are trained on, once from the version and
once anew, on the same split (what the version was trained on judges nothing). Both with looks more often than usual:
what both gain on the author's last 12 texts, all the steps of both, by how much going on's best early-stopping loss is
above that of training anew, and how many steps it takes to that loss as a share of those that took training anew there.
Of an author where the product would begin anew there is nothing to compare, which is said on stderr.
Progress on stderr; the last line on stdout is one JSON object.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.authors import Author, author_options, read_authors
from benchmarks.statistics import median
from tuning.base_model import BaseModel, load_base_model
from tuning.config import TuningConfig
from tuning.dataset import Earlier, Split, split_before
from tuning.evaluation import bits_per_char, reduction_pct
from tuning.population import load_population
from tuning.prefix import Prefix
from tuning.trainee import KNOWN_SHARE
from tuning.trainer import TrainingJob, TrainingResult, TrainingSettings, train_alone

FIRST, THEN = 20, 40
LOOK_EVERY = 2  # steps


@dataclass(frozen=True)
class Outcome:
    """anew_steps: to the best early-stopping loss of training anew. steps: of going on, to that loss; None: never.
    anew_course, course: all steps. learning_rate: of going on. loss_above_pct: best early-stopping loss of going on
    above that of training anew."""

    author: str
    anew_steps: int
    steps: int | None
    anew_course: int
    course: int
    learning_rate: float
    loss_above_pct: float
    anew_reduction_pct: float
    reduction_pct: float

    @property
    def ratio(self) -> float:
        """Share of the steps; never reached counts as infinite."""
        return float("inf") if self.steps is None else self.steps / max(self.anew_steps, LOOK_EVERY)


def measure(base: BaseModel, settings: TrainingSettings, population: Prefix | None, author: Author) -> Outcome | None:
    """One author, both ways; None where the product would not go on."""
    patient = settings.looking_every(LOOK_EVERY)
    older = author.training(THEN)[:FIRST]
    first = split_before(base, older, older[-1:], num_virtual_tokens=settings.num_virtual_tokens)
    version = train_alone(base, TrainingJob(first, start=population), settings).prefix
    split = author.split(
        base,
        THEN,
        settings.num_virtual_tokens,
        earlier=Earlier(frozenset(first.trained_ids), frozenset(text.id for text in older)),
    )
    if not settings.gains_by_going_on(split):
        return None
    anew = train_alone(base, TrainingJob(split, start=population), patient)
    job = TrainingJob(split, start=version, goes_on=True)
    gone_on = train_alone(base, job, patient)
    return Outcome(
        author=author.name,
        anew_steps=anew.best_step,
        steps=steps_to(gone_on, anew.best_held_out_loss),
        anew_course=anew.steps,
        course=gone_on.steps,
        learning_rate=patient.suited_to(job).learning_rate,
        loss_above_pct=round(100 * (gone_on.best_held_out_loss / anew.best_held_out_loss - 1), 3),
        anew_reduction_pct=_reduction_pct(base, anew.prefix, split),
        reduction_pct=_reduction_pct(base, gone_on.prefix, split),
    )


def steps_to(result: TrainingResult, loss: float) -> int | None:
    """The first look at or below `loss`."""
    looks = ((look.step, look.held_out_loss) for look in result.history)
    return next((step for step, seen in looks if seen is not None and seen <= loss), None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON object."""
    options = author_options(__doc__, limit=6).parse_args(arguments)
    config = TuningConfig.from_env()
    base, settings = load_base_model(config), TrainingSettings.from_config(config)
    population = load_population(config, base)
    outcomes = []
    for author in read_authors(options.authors, options.limit, options.skip):
        outcome = measure(base, settings, population, author)
        print(outcome or f"{author.name}: begins anew", file=sys.stderr, flush=True)
        outcomes += [outcome] if outcome else []
    if not outcomes:
        sys.exit("going_on: of none of these authors a training would go on")
    configuration = {
        "samples": [FIRST, THEN],
        "skip": options.skip,
        "base_model": base.name,
        "fingerprint": base.fingerprint,
        "population": population.digest if population else "",
        "settings": asdict(settings),
        "known_share": KNOWN_SHARE,
    }
    print(json.dumps(_summary(outcomes) | {"configuration": configuration}))


def _summary(outcomes: Sequence[Outcome]) -> dict[str, object]:
    ratios = sorted(outcome.ratio for outcome in outcomes)
    middle = median(ratios)
    return {
        "authors": len(outcomes),
        "reached": sum(outcome.steps is not None for outcome in outcomes),
        "steps_ratio": middle if middle < float("inf") else None,
        "course_ratio": round(median([outcome.course / outcome.anew_course for outcome in outcomes]), 3),
        "loss_above_pct": median([outcome.loss_above_pct for outcome in outcomes]),
        "median_reduction_pct": {
            "anew": median([outcome.anew_reduction_pct for outcome in outcomes]),
            "going_on": median([outcome.reduction_pct for outcome in outcomes]),
        },
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }


def _reduction_pct(base: BaseModel, prefix: Prefix, split: Split) -> float:
    bare, voice = (bits_per_char(base, one, split.test) for one in (None, prefix))
    return round(reduction_pct(bare, voice), 3)


if __name__ == "__main__":
    main()
