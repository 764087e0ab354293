"""POST /v1/chat/completions: a conversation goes in, its next turn comes out, whole or in pieces (app.api.spoken),
where the base model has a chat template that can be used."""

from collections.abc import Iterable, Iterator

from apiflask import APIBlueprint
from flask import Response

from app.api.chat_schemas import (
    AnswerMessage,
    ChatChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatRequest,
    ChunkChoice,
    Delta,
)
from app.api.errors import refused
from app.api.logprobs import ChatLogprobs, chat_logprobs
from app.api.spoken import Answer, refuse_what_cannot_fit, speak
from app.generation.text_stream import TextPiece
from tuning.base_model import BaseModel
from tuning.errors import ConversationRefused

EXAMPLE = {"messages": [{"role": "user", "content": "Write about the way home."}], "max_completion_tokens": 64}

blueprint = APIBlueprint("chat", __name__, url_prefix="/v1/chat", tag="Completions")


@blueprint.post("/completions")
@blueprint.input(ChatRequest, arg_name="body", example=EXAMPLE)
@blueprint.output(ChatCompletion)
def create_chat_completion(body: ChatRequest) -> Response:
    """Answer a conversation, in the base model's voice or your own.

    Only where the base model has a chat template; otherwise use /v1/completions. With stream: true the answer is a
    stream of server-sent events, a chunk each, and data: [DONE] at its end.
    """
    return speak(body, _ChatCompletion, lambda base: _token_ids(base, body.conversation), body.ceiling)


class _ChatCompletion(Answer):
    """Each answer's first chunk has the role, its last one the reason."""

    kind = "chatcmpl"
    prompt_param = "messages"

    def worded(self, answers: list[TextPiece]) -> ChatCompletion:
        choices = [
            ChatChoice(
                index=answer.index,
                message=AnswerMessage(content=answer.text),
                logprobs=self._told(answer),
                finish_reason=answer.finish_reason,
            )
            for answer in answers
        ]
        return ChatCompletion(**self.head, choices=choices, usage=self.usage)

    def chunks(self, pieces: Iterable[TextPiece]) -> Iterator[ChatCompletionChunk]:
        for index in range(self.count):
            yield self._chunk(ChunkChoice(index=index, delta=Delta(role="assistant", content="")))
        for piece in pieces:
            if piece.text or piece.tokens:
                delta = Delta(content=piece.text)
                yield self._chunk(ChunkChoice(index=piece.index, delta=delta, logprobs=self._told(piece)))
            if piece.finish_reason is not None:
                yield self._chunk(ChunkChoice(index=piece.index, delta=Delta(), finish_reason=piece.finish_reason))

    def last_chunk(self) -> ChatCompletionChunk:
        return ChatCompletionChunk(**self.head, choices=[], usage=self.usage)

    def _told(self, piece: TextPiece) -> ChatLogprobs | None:
        return chat_logprobs(self.token_texts, piece.tokens) if self.token_texts else None

    def _chunk(self, choice: ChunkChoice) -> ChatCompletionChunk:
        return ChatCompletionChunk(**self.head, choices=[choice])


def _token_ids(base: BaseModel, conversation: list[tuple[str, str]]) -> list[int]:
    if not base.has_chat_template:
        message = (
            "The base model of this installation has no chat template, so it takes no conversations. "
            "Use /v1/completions with a prompt."
        )
        raise refused(message, param="messages", code="chat_not_offered")
    refuse_what_cannot_fit(base, sum(len(text) for _, text in conversation), "messages")
    try:
        return base.encode_conversation(conversation)
    except ConversationRefused as wrong:
        raise refused(f"messages: {wrong}", param="messages") from wrong
