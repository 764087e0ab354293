"""The worker's side of a run, played by hand through storage: what a page shows at each state, without torch."""

from typing import Any

from storage import prefixes, reports, run_claims
from storage.run_claims import Claim
from tests.app.web.browser import Person

FIGURES: dict[str, Any] = {
    "samples": 12,
    "test_samples": 2,
    "train_tokens": 812,
    "stop_tokens": 120,
    "test_tokens": 240,
    "base_bits_per_char": 2.5,
    "voice_bits_per_char": 2.2,
    "population_bits_per_char": 2.45,
    "reduction_pct": 12.0,
    "train_seconds": 41.5,
    "prefix_bytes": 65536,
    "num_virtual_tokens": 16,
    "steps": 120,
    "best_step": 90,
}
STYLES: dict[str, Any] = {
    writer: {
        "num_words": num_words,
        "function_words_per_100": {"the": the, "and": 4.0, "but": but, "quite": 0.0, "of": 2.5},
        "punctuation_per_100": {",": 7.0, ";": semicolons, "!": 0.0},
        "sentence_words": sentence,
        "word_chars": 4.21,
        "openings_pct": openings,
    }
    for writer, num_words, the, but, semicolons, sentence, openings in (
        ("samples", 4210, 5.5, 1.75, 1.2, 21.4, {"the": 12.5, "but": 6.25}),
        ("base", 1404, 6.5, 0.25, 0.1, 12.9, {"the": 14.0, "he": 9.0}),
        ("voice", 1388, 5.75, 1.25, 0.8, 18.2, {"the": 13.0, "but": 5.0}),
    )
}
REPORT: dict[str, Any] = {
    "in_context_bits_per_char": 2.4,
    "neutral_rise_pct": 1.25,
    "style": {"samples": None, "base": None, "voice": None},
    "style_distance": {"base": 0.6, "voice": 0.4},
    "longest_overlap": {"words": 5, "chars": 27},
}


def begin(person: Person, *, steps: int = 3, max_steps: int = 200) -> Claim:
    """A run of this person, claimed and some steps in."""
    if person.num_samples() < 3:
        person.add(3)
    run = person.run()
    with person.storage.database.session() as session:
        claim = run_claims.claim(session, run.id, worker="hand", lease_s=60, max_attempts=3)
        assert claim is not None
        run_claims.start_running(session, claim, max_steps)
    for number in range(steps):
        with person.storage.database.session() as session:
            run_claims.record_progress(session, claim, 10 * (number + 1), measured(number, max_steps))
    return claim


def measured(number: int, max_steps: int = 200) -> dict[str, Any]:
    """The metrics of the number-th evaluation."""
    held_out = round(2.5 - 0.3 * (1 - 0.7**number), 4)
    return {
        "step": 10 * (number + 1),
        "max_steps": max_steps,
        "train_loss": 3.0,
        "held_out_loss": held_out,
        "base_held_out_loss": 2.5,
        "best_held_out_loss": held_out,
        "seconds": 4.0 * number,
        "eta_seconds": 40.0,
    }


def publish(person: Person, **figures: Any) -> None:
    """A whole run that publishes a version (of bytes that no model would take)."""
    prefixes.publish_prefix(
        person.storage,
        begin(person),
        data=b"not a real prefix",
        base_fingerprint="f" * 64,
        num_virtual_tokens=16,
        figures={**FIGURES, **figures},
    )


def add_report(person: Person, **changes: Any) -> None:
    """What a worker measures of the version that was published last."""
    with person.storage.database.session() as session:
        run_id = person.newest_run_id(session)
        reports.add_report(session, person.storage.keys, person.user.id, run_id, REPORT | changes)


def end(person: Person, claim: Claim, state: Any, **outcome: Any) -> None:
    """End a run without a version."""
    with person.storage.database.session() as session:
        run_claims.finish(session, claim, state=state, **outcome)
