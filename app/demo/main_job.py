"""The main job, headless: sign up, give samples, train, read one prompt without and with the voice. HTTP only.

Owns the order of things and what is said about each; must not import anything of the platform it drives.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.demo.api_caller import ApiCaller, ApiRefusal
from app.demo.errors import DemoFailed
from app.demo.pages import Visitor
from app.demo.terminal import ProgressBar, say, side_by_side
from app.pieces.errors import UnusableWriting
from app.pieces.reading import Piece

FIGURES = ("samples", "train_tokens", "base_bits_per_char", "voice_bits_per_char", "reduction_pct")
POLL_S = 0.4
TOO_LITTLE_TEXT = "too_little_text"
ENDED = ("succeeded", "failed", "cancelled")
PROMPT_WORDS = 8
SAMPLING = {"max_tokens": 120, "temperature": 0.8, "top_p": 0.95, "seed": 7}
WARM_REQUESTS = 5


@dataclass(frozen=True)
class MainJob:
    """One pass through the product at `url`. tend: called while waiting, to keep the platform alive."""

    url: str
    tend: Callable[[], None]

    def run(self, pieces: list[Piece]) -> dict[str, Any]:
        """Do it all and say so on the way; the figures of the demo's last line. Raises DemoFailed, and UnusableWriting
        where no voice can be trained on the pieces."""
        caller = ApiCaller(self.url, self._sign_up())
        try:
            voice = caller.voice_id()
            kept = self._give(caller, voice, pieces)
            run = self._train(caller, voice)
            self._compare(caller, voice, run, _prompt_from(kept))
            first_token_ms = _time_to_first_token_ms(caller, voice, _prompt_from(kept)) if run["published"] else None
            return _summary(run, first_token_ms)
        finally:
            caller.close()

    def _sign_up(self) -> str:
        visitor = Visitor(self.url)
        try:
            email = visitor.sign_up()
            say(f"Signed up as {email}, through the pages.")
            return visitor.create_api_key()
        finally:
            visitor.close()

    def _give(self, caller: ApiCaller, voice: str, pieces: list[Piece]) -> list[Piece]:
        kept, words = [], 0
        for number, piece in enumerate(pieces, start=1):
            try:
                words += caller.add_sample(voice, piece)["num_words"]
            except ApiRefusal as refused:
                say(f"  piece {number} is left out: {refused}")
            else:
                kept.append(piece)
        if not kept:
            raise UnusableWriting("none of the pieces could be kept as a writing sample")
        say(f"Gave {len(kept)} samples, {words:,} words, over /v1.")
        return kept

    def _train(self, caller: ApiCaller, voice: str) -> dict[str, Any]:
        run_id = _asked_for_training(caller, voice)
        say("Asked for training; a worker takes it from the queue. The newest fifth is kept out of it, to judge by:")
        bar, seen = ProgressBar(), 0
        while True:
            run = caller.run(run_id)  # before its events: what an ended run has told is then complete
            while events := caller.events(run_id, seen):
                seen = int(events[-1]["id"])
                for event in events:
                    if event["type"] == "metrics":
                        bar.show(event["data"])
            if run["state"] in ENDED:
                bar.finish()
                return _succeeded(run)
            self.tend()
            time.sleep(POLL_S)

    def _compare(self, caller: ApiCaller, voice: str, run: dict[str, Any], prompt: str) -> None:
        say(verdict_of(run))
        say()
        say(f"The same prompt, sampled the same way: “{prompt}”")
        say()
        base = "".join(caller.stream({"model": caller.base_model_id(), "prompt": prompt, **SAMPLING}))
        spoken = "(no voice was published)"
        if run["published"]:
            spoken = "".join(caller.stream({"model": voice, "prompt": prompt, **SAMPLING}))
        say(side_by_side("the base model", base.strip(), "in the voice", spoken.strip()))
        say()


def _asked_for_training(caller: ApiCaller, voice: str) -> str:
    try:
        return caller.start_training(voice)
    except ApiRefusal as refused:
        if refused.status == 400:  # what was given is not enough
            raise UnusableWriting(str(refused)) from refused
        raise


def _succeeded(run: dict[str, Any]) -> dict[str, Any]:
    if run["state"] == "succeeded":
        return run
    error = run["error"] or {"code": None, "message": f"it was {run['state']}"}
    if error["code"] == TOO_LITTLE_TEXT:
        raise UnusableWriting(error["message"])
    raise DemoFailed(f"the training did not end well: {error['message']}")


def verdict_of(run: dict[str, Any]) -> str:
    """What came of a training that ended well, in a sentence."""
    figures = run["figures"]
    base, voice = figures["base_bits_per_char"], figures["voice_bits_per_char"]
    if run["published"]:
        gain = f"{base:.3f} → {voice:.3f} bits per character, {figures['reduction_pct']:.1f} % less"
        return f"Published. On writing it never saw: {gain}."
    why = figures.get("reason") or "it did not beat the base model on writing it never saw"
    if base is None or voice is None:
        return f"Not published: {why}"
    return f"Not published: {why} (base model {base:.3f}, voice {voice:.3f} bits per character)."


def _prompt_from(kept: list[Piece]) -> str:
    """The newest piece's own prompt, or else its first words; it was not trained on."""
    newest = (
        max(kept, key=lambda piece: piece.written_on or "") if all(piece.written_on for piece in kept) else kept[-1]
    )
    return newest.prompt or " ".join(newest.text.split()[:PROMPT_WORDS])


def _time_to_first_token_ms(caller: ApiCaller, voice: str, prompt: str) -> float:
    """Milliseconds from sending a request to its first piece of text: the median of WARM_REQUESTS, one at a time."""
    return round(statistics.median(_first_text_ms(caller, voice, prompt) for _ in range(WARM_REQUESTS)), 1)


def _first_text_ms(caller: ApiCaller, voice: str, prompt: str) -> float:
    sent = time.perf_counter()
    for text in caller.stream({"model": voice, "prompt": prompt, **SAMPLING, "max_tokens": 8}):
        if text:
            return (time.perf_counter() - sent) * 1000
    raise DemoFailed("the voice's stream ended without a piece of text")


def _summary(run: dict[str, Any], first_token_ms: float | None) -> dict[str, Any]:
    figures = run["figures"]
    return {
        **{name: figures[name] for name in FIGURES},
        "published": run["published"],
        "train_seconds": figures["train_seconds"],
        "prefix_bytes": figures["prefix_bytes"],
        "time_to_first_token_ms": first_token_ms,
    }
