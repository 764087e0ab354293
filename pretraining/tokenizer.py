"""The tokenizer: byte-level BPE fitted on the corpus and nothing else, its control tokens, and the form it has beside
the weights. Knows the form of a conversation (pretraining.conversation) only as a template; knows no model."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pretraining.corpus import SEPARATOR, Document
from pretraining.errors import ModelUnusable

PAD, USER, ASSISTANT, SYSTEM = "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"
CONTROL_TOKENS = [SEPARATOR, PAD, USER, ASSISTANT, SYSTEM]  # their ids are 0 to 4
START_ID = 0  # opens every document, and so ends the one before it
VOCABULARY = 8192
_MOST_DOCUMENTS, _MOST_CHARS = 20_000, 6_000

# A speaker's token, a line break, what is said. An answer ends with the token that opens a document; a conversation
# with several turns therefore looks like several of one turn in a row.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% else %}{{ '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def fit_tokenizer(documents: Iterable[Document], vocabulary: int = VOCABULARY) -> Tokenizer:
    """Byte-level BPE over the beginnings of the first documents: no text outside the corpus shapes it."""
    sample = [document.text[:_MOST_CHARS] for document, _ in zip(documents, range(_MOST_DOCUMENTS), strict=False)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=CONTROL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample, trainer)
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """From tokenizer.json. Raises ModelUnusable when it is not one of this form."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as wrong:  # the library raises nothing narrower
        raise ModelUnusable(f"{path} is not a tokenizer: {wrong}") from wrong
    if [tokenizer.token_to_id(token) for token in CONTROL_TOKENS] != list(range(len(CONTROL_TOKENS))):
        raise ModelUnusable(f"{path} lacks the control tokens {' '.join(CONTROL_TOKENS)} as its first ids.")
    return tokenizer


def dressed(tokenizer: Tokenizer, positions: int, *, chat: bool) -> Any:
    """The tokenizer as AutoTokenizer will find it. chat: with the template, for a model that has learned to answer."""
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SEPARATOR,
        bos_token=SEPARATOR,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT, SYSTEM],
        model_max_length=positions,
    )
    if chat:
        made.chat_template = CHAT_TEMPLATE
    return made
