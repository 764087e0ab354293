"""A model folder as it is compared: loaded by itself, as anybody would load it. Knows nothing of how it was made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from pretraining.errors import ModelUnusable
from pretraining.state import read_figures


@dataclass(frozen=True, eq=False)
class Candidate:
    """context: the tokens it may be given at once, those it was trained on where its folder says so."""

    folder: Path
    model: PreTrainedModel
    tokenizer: Any
    context: int

    @classmethod
    def load(cls, folder: Path) -> "Candidate":
        """In float32, in evaluation mode. Raises ModelUnusable."""
        try:
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
            tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError, KeyError, RuntimeError) as wrong:
            raise ModelUnusable(f"{folder} holds no model that can be loaded: {wrong}") from wrong
        context = int(read_figures(folder).get("context", model.config.max_position_embeddings))
        return cls(folder, model.eval(), tokenizer, context)

    @property
    def start_id(self) -> int:
        """The token every document begins with."""
        bos = self.tokenizer.bos_token_id
        return int(self.tokenizer.eos_token_id if bos is None else bos)

    def encode(self, text: str) -> list[int]:
        """A document's ids, its start first. Control tokens spelled out in it stay text."""
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        return [self.start_id, *map(int, ids)]

    def encode_request(self, request: str) -> list[int]:
        """In the chat template's form; of a model without one, a document that begins with the request."""
        if not self.tokenizer.chat_template:
            return self.encode(f"{request}\n\n")
        message = [{"role": "user", "content": request}]
        encoded = self.tokenizer.apply_chat_template(message, add_generation_prompt=True, sanitize_control_tokens=True)
        return [int(token) for token in encoded["input_ids"]]

    def decode(self, ids: list[int]) -> str:
        """Without control tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def generate(self, rows: list[list[int]], **settings: Any) -> Tensor:
        """What `model.generate` adds to rows of one length, [rows, new tokens]."""
        ids = torch.tensor(rows)
        pad = self.start_id if self.tokenizer.pad_token_id is None else int(self.tokenizer.pad_token_id)
        with torch.no_grad():
            made = self.model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=pad, **settings)
        written: Tensor = made[:, ids.shape[1] :]
        return written
