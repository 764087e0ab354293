"""POST /v1/completions: a prompt goes in, text in the base model's voice or the caller's own comes out, whole or in
pieces. The way of a request: name -> prefix (app.api.speakers) -> engine -> text. A caller who hangs up frees its row.
"""

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from apiflask import APIBlueprint
from flask import Response, jsonify, request

from app.api.completion_schemas import Choice, Completion, CompletionRequest, Usage
from app.api.errors import refused
from app.api.request_log import note
from app.api.server_sent_events import DONE, error_event, event, event_stream
from app.api.services import caller, services
from app.api.speakers import Speaker, speaker_of
from app.callers import hung_up
from app.generation.sampling import SamplingParams
from app.generation.sequence import GenerationStream, Token
from app.generation.text_stream import TextPiece, TextStream
from storage.ids import new_id
from tuning.base_model import BaseModel

DEFAULT_MAX_TOKENS = 16
HUNG_UP_POLL_S = 1.0  # while no token comes: a row waits, or a long prompt is read
EXAMPLE = {"prompt": "On the way home", "max_tokens": 64, "stream": True}  # app.api.openapi adds the model

blueprint = APIBlueprint("completions", __name__, url_prefix="/v1", tag="Completions")


@blueprint.post("/completions")
@blueprint.input(CompletionRequest, arg_name="body", example=EXAMPLE)
@blueprint.output(Completion)
def create_completion(body: CompletionRequest) -> Response:
    """Go on from a prompt, in the base model's voice or your own.

    With stream: true the answer is a stream of server-sent events, a chunk each, and data: [DONE] at its end.
    """
    with ExitStack() as held:  # the caller's seat and the row: given back here, or when a streamed answer is closed
        held.enter_context(services().generations.one(caller().user_id))
        answer = _begin(body, held)
        if not body.stream:
            return _headed(jsonify(answer.whole()), answer.speaker)
        include_usage = body.stream_options is not None and body.stream_options.include_usage
        response = _headed(event_stream(answer.events(include_usage=include_usage)), answer.speaker)
        response.call_on_close(held.pop_all().close)
        return response


def _begin(body: CompletionRequest, held: ExitStack) -> "_Answer":
    """Hand the request to the engine. The stream, which `held` cancels when it closes, is the answer's."""
    base = services().base
    prompt = _token_ids(base, body.prompt)
    speaker = speaker_of(caller().user_id, body.model)
    stream = held.enter_context(_submit(prompt, _params(base, body), speaker))
    note(voice=speaker.voice_id, version=speaker.version, prompt_tokens=len(prompt))
    text = TextStream(_Listened(stream, request.environ), base.tokenizer, body.stops, prompt)
    return _Answer(text, len(prompt), speaker, f"fp_{base.fingerprint[:12]}")


def _headed(response: Response, speaker: Speaker) -> Response:
    response.headers.update(speaker.headers)
    return response


class _Listened:
    """A stream's tokens for as long as the caller is there to read them."""

    def __init__(self, stream: GenerationStream, environ: dict[str, Any]) -> None:
        self._stream = stream
        self._environ = environ

    def __iter__(self) -> Iterator[Token]:
        while not self._stream.ended:
            token = self._stream.next_within(HUNG_UP_POLL_S)
            if hung_up(self._environ):
                self.cancel()
                return
            if token is not None:
                yield token

    def cancel(self) -> None:
        """Give the row back."""
        self._stream.cancel()


@dataclass
class _Answer:
    """The pieces of one answer in OpenAI's shapes."""

    text: TextStream
    prompt_tokens: int
    speaker: Speaker
    system_fingerprint: str

    def __post_init__(self) -> None:
        self._id = new_id("cmpl")
        self._created = int(time.time())

    def whole(self) -> dict[str, Any]:
        """The answer when all of it is there."""
        pieces = list(self.text)
        last = TextPiece("".join(piece.text for piece in pieces), pieces[-1].finish_reason if pieces else None)
        return self._completion([last], self._usage()).model_dump(mode="json")

    def events(self, *, include_usage: bool) -> Iterator[str]:
        """The answer as server-sent events: chunks, perhaps one with the usage, [DONE]; or an error that ends it."""
        try:
            for piece in self.text:
                yield event(self._completion([piece], None).model_dump_json())
            if include_usage:
                yield event(self._completion([], self._usage()).model_dump_json())
            yield DONE
        except Exception as broken:
            yield error_event(broken)

    def _completion(self, pieces: list[TextPiece], usage: Usage | None) -> Completion:
        return Completion(
            id=self._id,
            created=self._created,
            model=self.speaker.model,
            system_fingerprint=self.system_fingerprint,
            choices=[Choice(text=piece.text, finish_reason=piece.finish_reason) for piece in pieces],
            usage=usage,
            idiolect=self.speaker.used,
        )

    def _usage(self) -> Usage:
        written = self.text.num_tokens
        return Usage(
            prompt_tokens=self.prompt_tokens, completion_tokens=written, total_tokens=self.prompt_tokens + written
        )


def _submit(prompt: list[int], params: SamplingParams, speaker: Speaker) -> GenerationStream:
    try:
        return services().engine.submit(prompt, params, speaker.prefix)
    except ValueError as wrong:  # ids that are in no vocabulary
        raise refused(str(wrong), param="prompt") from wrong


def _token_ids(base: BaseModel, prompt: str | list[str | list[int]] | list[int]) -> list[int]:
    if isinstance(prompt, str):
        return _encoded(base, prompt)
    if isinstance(prompt[0], int):
        return [token for token in prompt if isinstance(token, int)]
    if len(prompt) > 1:
        raise refused("prompt: send one prompt a request; this list has several.", param="prompt")
    return _encoded(base, prompt[0]) if isinstance(prompt[0], str) else prompt[0]


def _encoded(base: BaseModel, text: str) -> list[int]:
    """Its token ids. A text that can't fit is refused by its length: tokenising megabytes would take seconds."""
    at_least = math.ceil(len(text) / services().longest_token)
    if at_least > base.context_length:
        message = (
            f"This model takes at most {base.context_length} tokens of prompt, "
            f"and the prompt has at least {at_least} tokens. Shorten the prompt."
        )
        raise refused(message, param="prompt", code="context_length_exceeded")
    return base.encode(text)


def _params(base: BaseModel, body: CompletionRequest) -> SamplingParams:
    return SamplingParams(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        top_k=body.top_k or 0,
        seed=body.seed,
        max_tokens=body.max_tokens or DEFAULT_MAX_TOKENS,
        stop_token_ids=base.stop_token_ids,
    )
