"""ChatTemplate: what an instruct model's template puts around a request and after an answer, and around the turns of
a conversation, as token ids. Knows the tokenizer alone; control tokens spelled out in what was said stay text, and the
same words have the same ids every day."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from tuning.encoding import ENCODING
from tuning.errors import ConversationRefused

MOST_TEMPLATE_TOKENS = 96  # a block of training has 256, and a request at most half of them
_REQUEST, _ANSWER = "The request’s place.", "The answer’s place."
# Some templates tell the model today's date. A voice is trained on one day and asked on another.
_SAME_DATE = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}{{ '' }}"

logger = logging.getLogger(__name__)


class _Unusable(Exception):
    """Why a template can't be used, in a few words."""


@dataclass(frozen=True, eq=False)
class ChatTemplate:
    """A tokenizer's template with its pieces found.

    num_tokens: what it adds to a request. answer_end_ids: from the end of an answer to the control token that ends
        the assistant's turn, which is the last of them.
    """

    tokenizer: PreTrainedTokenizerBase
    num_tokens: int
    answer_end_ids: tuple[int, ...]

    @classmethod
    def of(
        cls, tokenizer: PreTrainedTokenizerBase, *, most_tokens: int = MOST_TEMPLATE_TOKENS
    ) -> "ChatTemplate | None":
        """The tokenizer's template; None where it has none, or one that can't be used, of which the log says why."""
        if not tokenizer.chat_template:
            return None
        try:
            return cls(tokenizer, _length(tokenizer, most_tokens), _answer_end(tokenizer))
        except Exception as wrong:  # the template is a program of somebody else's, which may end in any error
            reason = wrong if isinstance(wrong, _Unusable) else type(wrong).__name__
            logger.warning("the chat template can't be used, the model is taken for a plain one: %s", reason)
            return None

    def encode_request(self, prompt: str, at_most: int | None = None) -> list[int]:
        """Ids of one user message and what leads to the answer. Beyond `at_most` ids the head of the prompt, never a
        part of the template, is left out."""
        ids = _request(self.tokenizer, prompt)
        if at_most is None or len(ids) <= at_most:
            return ids
        words = _plain_ids(self.tokenizer, prompt)
        room = min(len(words), max(0, at_most - self.num_tokens))
        while True:  # a cut may fall into a letter or a word, whose rest then takes another token or two
            tail = self.tokenizer.decode(words[len(words) - room :], clean_up_tokenization_spaces=False)
            ids = _request(self.tokenizer, str(tail).lstrip("\ufffd"))
            if len(ids) <= at_most or room == 0:
                return ids
            room -= 1

    def encode_conversation(self, conversation: Sequence[tuple[str, str]]) -> list[int]:
        """Ids of turns, a role and a text each, and what leads to the next answer. One user turn has the ids of the
        same request. Raises ConversationRefused where the template fails on it or leaves out what somebody said."""
        messages = [{"role": role, "content": text} for role, text in conversation]
        try:
            rendered, ids = _rendered(self.tokenizer, messages, answer_follows=True), _encoded(self.tokenizer, messages)
        except Exception as wrong:  # the template is a program of somebody else's, which may end in any error
            raise ConversationRefused(
                "this model's chat template does not take such a conversation: send user and assistant turns that "
                "take turns, the user's first and last, no system turn if there is one, and nothing that spells out "
                "the model's own control tokens"
            ) from wrong
        _require_shown(conversation, rendered)
        return ids


def _require_shown(conversation: Sequence[tuple[str, str]], rendered: str) -> None:
    """Every turn in its order. Some templates skip roles; of an earlier answer they may leave out its thoughts."""
    place = 0
    for role, text in conversation:
        if role == "assistant":
            continue
        found = rendered.find(text.strip(), place)
        if found < 0:
            raise ConversationRefused(f"this model's chat template has no place for what the {role} says here")
        place = found + len(text.strip())


def _length(tokenizer: PreTrainedTokenizerBase, most_tokens: int) -> int:
    rendered = _rendered(tokenizer, [_user(_REQUEST)], answer_follows=True)
    if rendered.count(_REQUEST) != 1:
        raise _Unusable("it does not show a request once, as it is")
    length = len(_request(tokenizer, ""))
    if length > most_tokens:
        raise _Unusable(f"it adds {length} tokens to a request, and at most {most_tokens} leave room for text")
    if length == 0:
        raise _Unusable("it adds nothing to a request")
    return length


def _answer_end(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    answered = [_user(_REQUEST), {"role": "assistant", "content": _ANSWER}]
    rendered = _rendered(tokenizer, answered, answer_follows=False)
    if rendered.count(_ANSWER) != 1:
        raise _Unusable("it does not show an answer once, as it is")
    with ENCODING:
        ids = list(tokenizer(rendered.partition(_ANSWER)[2], add_special_tokens=False)["input_ids"])
    controls = [place for place, token in enumerate(ids) if token in _control_ids(tokenizer)]
    if not controls:
        raise _Unusable("no control token ends an answer")
    return tuple(ids[: controls[0] + 1])


def _control_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Special tokens, and added ones that are not mere spaces: not every model marks its turns' ends as special."""
    added = tokenizer.added_tokens_decoder.items()
    return {int(number) for number, token in added if token.special or token.content.strip()}


def _request(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    return _encoded(tokenizer, [_user(prompt)])


def _encoded(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]]) -> list[int]:
    with ENCODING:
        encoded = tokenizer.apply_chat_template(
            list(messages),
            chat_template=_on_any_day(tokenizer),
            add_generation_prompt=True,
            sanitize_control_tokens=True,
            enable_thinking=False,
        )
    return [int(token) for token in encoded["input_ids"]]


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]], *, answer_follows: bool) -> str:
    return str(
        tokenizer.apply_chat_template(
            list(messages),
            chat_template=_on_any_day(tokenizer),
            tokenize=False,
            add_generation_prompt=answer_follows,
            enable_thinking=False,  # a voice answers at once
        )
    )


def _on_any_day(tokenizer: PreTrainedTokenizerBase) -> str:
    return _SAME_DATE + str(tokenizer.get_chat_template())


def _plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    with ENCODING:
        return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"])


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}
