"""How likely each token of an answer was, in the shapes of the two endpoints; where the installation allows it."""

from collections.abc import Iterable

from pydantic import Field

from app.api.errors import refused
from app.api.schemas import Out
from app.api.services import services
from app.generation.text_stream import Placed
from app.generation.token_text import TokenTexts

MAX_LOGPROBS = 5


class CompletionLogprobs(Out):
    """Of each token of a text. A token that is a part of a character is named by its bytes: `bytes:\\xf0`."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] = Field(description="The likeliest, and the one that was chosen.")
    text_offset: list[int] = Field(description="Where in the answer's text each token begins, in characters.")


class TopLogprob(Out):
    """A token and the logarithm of its probability."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """A token of an answer."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(Out):
    """Of each token of an answer. A token that is a part of a character is named by its bytes: `bytes:\\xf0`."""

    content: list[TokenLogprob]
    refusal: None = None


def refuse_logprobs_if_off(asked: int | None) -> None:
    """Raise ApiError where they are asked for and this installation does not tell them."""
    if asked is not None and services().config.logprobs == "off":
        message = "logprobs: this installation has them switched off (IDIOLECT_LOGPROBS). Leave the field out."
        raise refused(message, param="logprobs", code="logprobs_off")


def completion_logprobs(texts: TokenTexts, tokens: Iterable[Placed]) -> CompletionLogprobs:
    """Those of /v1/completions."""
    text_of = texts.text_of
    shown = CompletionLogprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
    for placed in tokens:
        name = text_of(placed.token_id)
        likeliest: dict[str, float] = {}
        for token_id, logprob in placed.logprobs.top:
            likeliest.setdefault(text_of(token_id), logprob)
        shown.tokens.append(name)
        shown.token_logprobs.append(placed.logprobs.chosen)
        shown.top_logprobs.append({name: placed.logprobs.chosen} | likeliest)
        shown.text_offset.append(placed.offset)
    return shown


def chat_logprobs(texts: TokenTexts, tokens: Iterable[Placed]) -> ChatLogprobs:
    """Those of /v1/chat/completions."""
    return ChatLogprobs(
        content=[
            TokenLogprob(
                **_named(texts, placed.token_id, placed.logprobs.chosen).model_dump(),
                top_logprobs=[_named(texts, *one) for one in placed.logprobs.top],
            )
            for placed in tokens
        ]
    )


def _named(texts: TokenTexts, token_id: int, logprob: float) -> TopLogprob:
    known = texts.bytes_of(token_id)
    return TopLogprob(token=texts.text_of(token_id), logprob=logprob, bytes=None if known is None else list(known))
