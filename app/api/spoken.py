"""A spoken answer: what /v1/completions and /v1/chat/completions have in common, whole or in pieces.

The way of a request: name -> prefix (app.api.speakers) -> engine -> text. A caller who hangs up frees its rows. Knows
nothing of how an endpoint words its answer; that is each Answer's own.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any, ClassVar

from flask import Response, g, jsonify, request
from pydantic import BaseModel as Schema

from app.api.errors import prompt_too_long, refused
from app.api.logprobs import refuse_logprobs_if_off
from app.api.request_log import note
from app.api.server_sent_events import DONE, error_event, event, event_stream
from app.api.services import caller, services
from app.api.speakers import Speaker, speaker_of
from app.api.speaking_schemas import Usage, Wish
from app.api.token_limits import tokens_for
from app.api.token_quota import refuse_beyond_the_day
from app.api.usage_meter import Tally
from app.callers import hung_up
from app.generation.errors import PromptTooLong, TooManyAtOnce
from app.generation.sampling import SamplingParams
from app.generation.sequence import GenerationStream, Token
from app.generation.text_stream import TextPiece, TextStream
from app.generation.token_text import TokenTexts
from storage.ids import new_id
from tuning.base_model import BaseModel

MOST_CHARS_A_TOKEN = 32  # of a whole prompt: runs of spaces alone have more
HUNG_UP_POLL_S = 1.0  # while no token comes: a row waits, or a long prompt is read


class Answer(ABC):
    """One answer on its way. A subclass puts it into its endpoint's words.

    kind: what its id begins with; prompt_param: the field that its prompt came in; token_texts: what tokens stand for,
    where it is told how likely they are.
    """

    kind: ClassVar[str]
    prompt_param: ClassVar[str]

    def __init__(self, text: TextStream, prompt_tokens: int, speaker: Speaker, token_texts: TokenTexts | None) -> None:
        self._text = text
        self._prompt_tokens = prompt_tokens
        self.token_texts = token_texts
        self._said_by_all = {
            "id": new_id(self.kind),
            "created": int(time.time()),
            "model": speaker.model,
            "system_fingerprint": f"fp_{services().base.fingerprint[:12]}",
            "idiolect": speaker.used,
        }

    @abstractmethod
    def worded(self, answers: list[TextPiece]) -> Schema:
        """The answer when all of its texts are there, with `self.head` and `self.usage` in it."""

    @abstractmethod
    def chunks(self, pieces: Iterable[TextPiece]) -> Iterator[Schema]:
        """The answer in pieces, as they come."""

    @abstractmethod
    def last_chunk(self) -> Schema:
        """One more, with no text and the usage."""

    @property
    def head(self) -> dict[str, Any]:
        """Fields that are the same in every chunk."""
        return self._said_by_all

    @property
    def count(self) -> int:
        """How many answers there are."""
        return self._text.count

    @property
    def usage(self) -> Usage:
        """Tokens read, and written so far."""
        written = self._text.num_tokens
        return Usage(
            prompt_tokens=self._prompt_tokens, completion_tokens=written, total_tokens=self._prompt_tokens + written
        )

    def whole(self) -> dict[str, Any]:
        """The answer's JSON once it has ended."""
        pieces: list[list[TextPiece]] = [[] for _ in range(self.count)]
        for piece in self._text:
            pieces[piece.index].append(piece)
        return self.worded([_joined(index, parts) for index, parts in enumerate(pieces)]).model_dump(mode="json")

    def events(self, *, include_usage: bool) -> Iterator[str]:
        """The answer as server-sent events: chunks, perhaps one with the usage, [DONE]; or an error that ends it."""
        try:
            for chunk in self.chunks(self._text):
                yield event(chunk.model_dump_json())
            if include_usage:
                yield event(self.last_chunk().model_dump_json())
            yield DONE
        except Exception as broken:
            yield error_event(broken)


def speak(
    wish: Wish, kind: type[Answer], read_prompt: Callable[[BaseModel], list[int]], max_tokens: int | None
) -> Response:
    """Answer a request, whole or as a stream. max_tokens: None for as many as fit."""
    refuse_logprobs_if_off(wish.num_logprobs)
    with ExitStack() as held:  # the caller's seats and the rows: given back here, or when a streamed answer is closed
        held.enter_context(services().generations.several(caller().user_id, _num_rows(wish)))
        base = services().base
        prompt = read_prompt(base)
        _refuse_what_does_not_fit(base, len(prompt), kind.prompt_param)
        most = _most_tokens(base, len(prompt), wish, max_tokens)
        refuse_beyond_the_day(services().storage.database, services().meter, caller().user_id)
        held.enter_context(tokens_for(services().token_limit, caller().user_id, most, g.tally))
        speaker = speaker_of(caller().user_id, wish.model, wish.strength)
        params = _params(base, wish, max_tokens)
        stream = held.enter_context(_submit(prompt, params, speaker, wish.num_answers, kind.prompt_param))
        note(voice=speaker.voice_id, version=speaker.version, strength=speaker.strength, prefix_from=speaker.origin)
        note(prompt_tokens=len(prompt), answers=wish.num_answers)
        g.tally.model, g.tally.prompt_tokens = speaker.voice_id or speaker.model, len(prompt)
        text = TextStream(
            _Listened(stream, request.environ, g.tally), base.tokenizer, wish.stops, prompt, wish.num_answers
        )
        held.callback(_tell, g.tally, text)
        token_texts = services().token_texts if wish.num_logprobs is not None else None
        answer = kind(text, len(prompt), speaker, token_texts)
        if not wish.stream:
            return _headed(jsonify(answer.whole()), speaker)
        response = _headed(event_stream(answer.events(include_usage=wish.include_usage)), speaker)
        response.call_on_close(held.pop_all().close)
        return response


def refuse_what_cannot_fit(base: BaseModel, num_chars: int, param: str) -> None:
    """Raise ApiError for a text that is too long whatever its tokens are, or nearly: everybody waits while megabytes
    are tokenised."""
    most = base.context_length * min(services().longest_token, MOST_CHARS_A_TOKEN)
    if num_chars > most:
        tokens, in_a_voice = _room(base)
        message = (
            f"This model takes at most {tokens} tokens of prompt, in a voice fewer by its prefix, usually "
            f"{in_a_voice}, and at most {most} characters; the prompt has {num_chars}. Shorten the prompt."
        )
        raise refused(message, param=param, code="context_length_exceeded")


def _refuse_what_does_not_fit(base: BaseModel, num_tokens: int, param: str) -> None:
    """Before it is weighed against the account's tokens; what a voice's prefix takes too is the engine's to say."""
    if num_tokens >= base.context_length:
        tokens, in_a_voice = _room(base)
        message = (
            f"This model takes at most {tokens} tokens of prompt, in a voice fewer by its prefix, usually "
            f"{in_a_voice}; the prompt has {num_tokens}. Shorten the prompt."
        )
        raise refused(message, param=param, code="context_length_exceeded")


def _room(base: BaseModel) -> tuple[int, int]:
    """Tokens of a prompt that fit: of the base model, and in a voice with a prefix of the configured length."""
    most = base.context_length - 1
    return most, most - base.num_virtual_tokens_probed


def _tell(tally: Tally, text: TextStream) -> None:
    tally.completion_tokens = text.num_tokens


def _joined(index: int, pieces: list[TextPiece]) -> TextPiece:
    """One whole answer; without a reason where its caller has gone."""
    reason = pieces[-1].finish_reason if pieces else None
    tokens = tuple(token for piece in pieces for token in piece.tokens)
    return TextPiece("".join(piece.text for piece in pieces), reason, index, tokens)


def _most_tokens(base: BaseModel, num_prompt_tokens: int, wish: Wish, max_tokens: int | None) -> int:
    """What a request may take from its account's tokens. Where nobody said how many to write, no more than a minute's:
    what fits the context may be beyond any limit."""
    room = max(0, base.context_length - num_prompt_tokens)
    if max_tokens is not None:
        return num_prompt_tokens + wish.num_answers * min(room, max_tokens)
    return max(num_prompt_tokens, min(num_prompt_tokens + wish.num_answers * room, services().token_limit.size))


def _num_rows(wish: Wish) -> int:
    """Rows of the batch that this takes: a voice followed by more or less than itself has the base model beside it."""
    led = wish.strength not in (0, 1) and wish.model != services().base.name
    return wish.num_answers * (2 if led else 1)


def _headed(response: Response, speaker: Speaker) -> Response:
    response.headers.update(speaker.headers)
    return response


class _Listened:
    """A stream's tokens for as long as the caller is there to read them."""

    def __init__(self, stream: GenerationStream, environ: dict[str, Any], tally: Tally) -> None:
        self._stream = stream
        self._environ = environ
        self._tally = tally

    def __iter__(self) -> Iterator[Token]:
        while not self._stream.ended:
            token = self._stream.next_within(HUNG_UP_POLL_S)
            if hung_up(self._environ):
                self.cancel()
                return
            if token is not None:
                self._tally.speaks()
                yield token

    def cancel(self) -> None:
        """Give the rows back."""
        self._stream.cancel()

    def drop(self, index: int) -> None:
        """Give one answer's row back."""
        self._stream.drop(index)


def _submit(
    prompt: list[int], params: SamplingParams, speaker: Speaker, count: int, prompt_param: str
) -> GenerationStream:
    try:
        return services().engine.submit(prompt, params, speaker.prefix, count, owner=caller().user_id)
    except TooManyAtOnce as many:
        param = "n" if count > 1 else "voice_strength"
        raise refused(f"{param}: {many}", param=param) from many
    except PromptTooLong as long:
        raise prompt_too_long(long, prompt_param) from long
    except ValueError as wrong:  # ids that are in no vocabulary
        raise refused(str(wrong), param=prompt_param, code="unknown_token") from wrong


def _params(base: BaseModel, wish: Wish, max_tokens: int | None) -> SamplingParams:
    return SamplingParams(
        temperature=1.0 if wish.temperature is None else wish.temperature,
        top_p=1.0 if wish.top_p is None else wish.top_p,
        top_k=wish.top_k or 0,
        seed=wish.seed,
        max_tokens=max_tokens or base.context_length,
        stop_token_ids=base.stop_token_ids,
        logprobs=wish.num_logprobs,
        voice_strength=wish.strength,
    )
