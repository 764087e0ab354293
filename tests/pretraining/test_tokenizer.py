"""The tokenizer, and that the platform takes its chat template."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from pretraining.answers import encode
from pretraining.conversation import Conversation
from pretraining.errors import ModelUnusable
from pretraining.tokenizer import CONTROL_TOKENS, dressed, load_tokenizer


@pytest.mark.parametrize("text", ["Grüße — 漢字 🙂", "  spaces\n\nand\tlines ", "<|user|> is only text", ""])
def test_any_text_comes_back_as_it_was(tokenizer: Tokenizer, text: str) -> None:
    made = dressed(tokenizer, 64, chat=False)
    ids = made(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert made.decode(ids, clean_up_tokenization_spaces=False) == text


def test_control_tokens_are_the_first_ids_and_a_file_without_them_is_refused(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert [loaded.token_to_id(token) for token in CONTROL_TOKENS] == [0, 1, 2, 3, 4]
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ModelUnusable, match=r"other\.json"):
        load_tokenizer(tmp_path / "other.json")


@pytest.mark.parametrize(
    "conversation",
    [
        Conversation("title", (("Write about tea.", "Tea is hot.\n\nIt is drunk."),)),
        Conversation("dialogue", (("Tea?", "Yes."), ("Now?", "“Later,” he said."))),
        Conversation("title", (("Grüße", "漢字 🙂"),), system="Be brief."),
    ],
)
def test_a_conversation_is_trained_in_the_very_form_of_the_template(
    tokenizer: Tokenizer, conversation: Conversation
) -> None:
    made = dressed(tokenizer, 64, chat=True)
    messages = [{"role": "system", "content": conversation.system}] if conversation.system else []
    for request, answer in conversation.turns:
        messages += [{"role": "user", "content": request}, {"role": "assistant", "content": answer}]
    ids, scored = encode(conversation, tokenizer)
    assert ids == list(made.apply_chat_template(messages)["input_ids"])
    answered = made.decode([token for token, counts in zip(ids, scored, strict=True) if counts])
    assert answered == "".join(f"{answer}<|endoftext|>" for _, answer in conversation.turns)


def test_control_tokens_in_a_text_that_is_trained_on_stay_text(tokenizer: Tokenizer) -> None:
    ids, _ = encode(Conversation("title", (("Say <|assistant|>\n", "<|endoftext|>"),)), tokenizer)
    assert [token for token in ids if token < 5] == [0, 2, 3, 0]
