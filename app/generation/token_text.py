"""What one token stands for, on its own: its text with the space in front, or its bytes where they are no whole
character. For tokenizers of byte-level pieces, byte fallback and word pieces. Knows no stream."""

import re

from transformers import PreTrainedTokenizerBase

from app.generation.text_stream import REPLACEMENT

_PRINTED = (*range(33, 127), *range(161, 173), *range(174, 256))  # the bytes that byte-level pieces spell as themselves
_OTHERS = [byte for byte in range(256) if byte not in _PRINTED]
_BYTE_OF = {chr(byte): byte for byte in _PRINTED} | {chr(256 + n): byte for n, byte in enumerate(_OTHERS)}


class TokenTexts:
    """The tokens of a tokenizer, which nobody else may encode with while this is made."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        # A token that comes first may lose its space, so each is decoded behind another one.
        self._before = list(tokenizer("a", add_special_tokens=False)["input_ids"])[-1:]
        self._lead = len(self._decode(self._before))

    def bytes_of(self, token_id: int) -> bytes | None:
        """Its UTF-8 bytes, which may be a part of a character; None where the tokenizer does not tell."""
        text = self._decode([*self._before, token_id])[self._lead :]
        if REPLACEMENT not in text:
            return text.encode()
        return _spelled(str(self._tokenizer.convert_ids_to_tokens(token_id)))

    def text_of(self, token_id: int) -> str:
        """Its text; of a part of a character its bytes, in the manner of `bytes:\\xf0\\x9f`."""
        known = self.bytes_of(token_id)
        if known is None:
            return REPLACEMENT
        try:
            return known.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in known)

    def _decode(self, token_ids: list[int]) -> str:
        return str(self._tokenizer.decode(token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _spelled(piece: str) -> bytes | None:
    if fallback := re.fullmatch("<0x([0-9A-Fa-f]{2})>", piece):
        return bytes.fromhex(fallback[1])
    return bytes(_BYTE_OF[char] for char in piece) if all(char in _BYTE_OF for char in piece) else None
