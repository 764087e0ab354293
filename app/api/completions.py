"""POST /v1/completions: a prompt goes in, text in the base model's voice or the caller's own comes out, whole or in
pieces (app.api.spoken)."""

from collections.abc import Iterable, Iterator

from apiflask import APIBlueprint
from flask import Response

from app.api.completion_schemas import Choice, Completion, CompletionRequest
from app.api.errors import refused
from app.api.logprobs import completion_logprobs
from app.api.speaking_schemas import Usage
from app.api.spoken import Answer, refuse_what_cannot_fit, speak
from app.generation.text_stream import TextPiece
from tuning.base_model import BaseModel

DEFAULT_MAX_TOKENS = 16
EXAMPLE = {"prompt": "On the way home", "max_tokens": 64, "stream": True}  # app.api.openapi adds the model

blueprint = APIBlueprint("completions", __name__, url_prefix="/v1", tag="Completions")


@blueprint.post("/completions")
@blueprint.input(CompletionRequest, arg_name="body", example=EXAMPLE)
@blueprint.output(Completion)
def create_completion(body: CompletionRequest) -> Response:
    """Go on from a prompt, in the base model's voice or your own.

    With stream: true the answer is a stream of server-sent events, a chunk each, and data: [DONE] at its end.
    """
    max_tokens = body.max_tokens or DEFAULT_MAX_TOKENS
    return speak(body, _Completion, lambda base: _token_ids(base, body.prompt), max_tokens)


class _Completion(Answer):
    """Chunks have the whole answer's shape."""

    kind = "cmpl"
    prompt_param = "prompt"

    def worded(self, answers: list[TextPiece]) -> Completion:
        return self._completion(answers, self.usage)

    def chunks(self, pieces: Iterable[TextPiece]) -> Iterator[Completion]:
        for piece in pieces:
            yield self._completion([piece], None)

    def last_chunk(self) -> Completion:
        return self._completion([], self.usage)

    def _completion(self, pieces: list[TextPiece], usage: Usage | None) -> Completion:
        return Completion(**self.head, choices=[self._choice(piece) for piece in pieces], usage=usage)

    def _choice(self, piece: TextPiece) -> Choice:
        told = completion_logprobs(self.token_texts, piece.tokens) if self.token_texts else None
        return Choice(index=piece.index, text=piece.text, logprobs=told, finish_reason=piece.finish_reason)


def _token_ids(base: BaseModel, prompt: str | list[str | list[int]] | list[int]) -> list[int]:
    if isinstance(prompt, str):
        return _encoded(base, prompt)
    if isinstance(prompt[0], int):
        return [token for token in prompt if isinstance(token, int)]
    if len(prompt) > 1:
        raise refused("prompt: send one prompt a request; this list has several.", param="prompt")
    return _encoded(base, prompt[0]) if isinstance(prompt[0], str) else prompt[0]


def _encoded(base: BaseModel, text: str) -> list[int]:
    refuse_what_cannot_fit(base, len(text), "prompt")
    return base.encode(text)
