"""The one frozen language model everybody shares: loading, freezing, fingerprint, tokens, which prefixes fit it. Knows
nothing of people, prefixes' contents, training or storage."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from tuning.chat_template import MOST_TEMPLATE_TOKENS, ChatTemplate
from tuning.config import TuningConfig
from tuning.encoding import ENCODING
from tuning.errors import BaseModelUnavailable
from tuning.model_card import languages_of
from tuning.prefix import Prefix
from tuning.probe import ProbeReport, probe, refuse_architecture

_LOADING_ERRORS = (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError)

# What, beside the weights, decides which numbers a model computes. A fixed list: a new release of transformers that
# adds fields must not orphan everybody's prefixes.
_ESSENTIALS = (
    *("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "hidden_act", "activation_function", "rms_norm_eps", "layer_norm_eps"),
    *("layer_norm_epsilon", "rope_parameters", "rotary_pct", "use_parallel_residual", "scale_attn_weights"),
    *("sliding_window", "layer_types", "tie_word_embeddings", "attention_multiplier", "logits_scaling"),
)


@dataclass(frozen=True, eq=False)
class BaseModel:
    """The frozen model in evaluation mode, with all that its users need to know of it.

    fingerprint: hex SHA-256 of weights, architecture and vocabulary, the same for every floating-point type it is
        loaded in.
    context_length: positions served, prefix included: real tokens ≤ context_length − num_virtual_tokens.
    layer_shapes: (num_kv_heads, head_dim) of each layer.
    probe_report: what the registration probe measured.
    chat: the template of an instruct model; None where there is none that can be used.
    languages: codes (ISO 639-1) that its card names; empty where it names none.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    fingerprint: str
    context_length: int
    probe_report: ProbeReport
    num_parameters: int
    chat: ChatTemplate | None = None
    languages: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        num_virtual_tokens: int,
        max_context: int,
        languages: tuple[str, ...] = (),
    ) -> "BaseModel":
        """Freeze and probe a loaded model. Raises BaseModelRefused, BaseModelUnavailable (no document-start token)."""
        model.requires_grad_(False).eval()
        if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
            raise BaseModelUnavailable(
                f"The tokenizer of {name} has neither a bos nor an eos token to start a text with."
            )
        positions = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None) or max_context
        context_length = min(int(positions), max_context)
        return cls(
            model=model,
            tokenizer=tokenizer,
            name=name,
            fingerprint=fingerprint(model, tokenizer),
            context_length=context_length,
            probe_report=probe(model, num_virtual_tokens=num_virtual_tokens, context_length=context_length),
            num_parameters=sum(parameter.numel() for parameter in model.parameters()),
            chat=ChatTemplate.of(
                tokenizer, most_tokens=min(MOST_TEMPLATE_TOKENS, (context_length - num_virtual_tokens) // 4)
            ),
            languages=languages,
        )

    @property
    def layer_shapes(self) -> tuple[tuple[int, int], ...]:
        """(num_kv_heads, head_dim) of each layer."""
        return self.probe_report.layer_shapes

    @property
    def num_virtual_tokens_probed(self) -> int:
        """The prefix length that the probe tried."""
        return self.probe_report.num_virtual_tokens

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(self.model.device)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        dtype = self.model.dtype
        assert isinstance(dtype, torch.dtype)
        return dtype

    @property
    def document_start_id(self) -> int:
        """The token every text begins with, in training, in measuring and in serving: bos, else eos."""
        bos = self.tokenizer.bos_token_id
        return int(self.tokenizer.eos_token_id if bos is None else bos)

    def encode(self, text: str, *, document_start: bool = True) -> list[int]:
        """Token ids of `text`, led by the document-start token unless told otherwise. Control tokens spelled out in a
        person's text stay text."""
        with ENCODING:
            ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        return ([self.document_start_id] if document_start else []) + [int(token) for token in ids]

    @property
    def has_chat_template(self) -> bool:
        """Whether requests can be put to this model in its own form: `encode_request` works, `answer_end_ids` is not
        empty."""
        return self.chat is not None

    def encode_request(self, prompt: str, at_most: int | None = None) -> list[int]:
        """Token ids of one user message in the model's own form, up to where the answer begins; the template alone
        says whether they begin with the document start. Control tokens spelled out in the prompt stay text. Beyond
        `at_most` ids the head of the prompt is left out. Raises ValueError without a chat template."""
        if self.chat is None:
            raise ValueError(f"{self.name} has no chat template")
        return self.chat.encode_request(prompt, at_most)

    def encode_conversation(self, conversation: Sequence[tuple[str, str]]) -> list[int]:
        """The same for role ("system", "user", "assistant") and text of each turn, and what leads to the next answer.
        Raises ConversationRefused for one that the template does not take, ValueError without a chat template."""
        if self.chat is None:
            raise ValueError(f"{self.name} has no chat template")
        return self.chat.encode_conversation(conversation)

    @property
    def answer_end_ids(self) -> tuple[int, ...]:
        """What follows an answer, its last token being the one that ends it; empty without a chat template."""
        return self.chat.answer_end_ids if self.chat is not None else ()

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """The tokens that end what the model writes: eos, and the end of an answer."""
        eos = self.tokenizer.eos_token_id
        return tuple(dict.fromkeys((*(() if eos is None else (int(eos),)), *self.answer_end_ids[-1:])))

    def read_prefix(self, data: bytes, dtype: torch.dtype | None = None) -> Prefix:
        """Stored bytes as a prefix where this model is, in its own type unless another is given. Raises WrongBaseModel
        and InvalidPrefix."""
        return Prefix.from_bytes(
            data, self.fingerprint, layer_shapes=self.layer_shapes, device=self.device, dtype=dtype or self.dtype
        )

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of `token_ids`, without control tokens."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def load_base_model(config: TuningConfig) -> BaseModel:
    """Load, freeze and probe the configured model.

    Raises BaseModelUnavailable (cannot be loaded), BaseModelRefused (a prefix would not work on it).
    """
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    device = _device(config.device)
    disable_progress_bar()
    try:
        architecture = AutoConfig.from_pretrained(config.base_model)
        refuse_architecture(architecture)
        # Only safetensors: a pickled checkpoint could run code.
        model = AutoModelForCausalLM.from_pretrained(
            config.base_model, dtype=_dtype(config.dtype, device), use_safetensors=True
        ).to(device)
        tokenizer = AutoTokenizer.from_pretrained(config.base_model)
    except _LOADING_ERRORS as wrong:
        reason = _reason(config.base_model, wrong)
        raise BaseModelUnavailable(
            f"The base model {config.base_model} can't be loaded: {reason} "
            "Set IDIOLECT_BASE_MODEL to a causal model in safetensors form: a local folder or a Hugging Face id."
        ) from wrong
    return BaseModel.of(
        model,
        tokenizer,
        name=config.base_model_name,
        num_virtual_tokens=config.num_virtual_tokens,
        max_context=config.max_context,
        languages=languages_of(config.base_model),
    )


def fingerprint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str:
    """Hex SHA-256 over the architecture's essentials, the vocabulary, and each weight's name, shape and value in
    bfloat16, so that one checkpoint loaded in float32 and in bfloat16 is the same model. Other ids for the same words
    make another model: a prefix would mean nothing to it."""
    described = model.config.get_text_config(decoder=True).to_dict()
    essentials = {key: described[key] for key in _ESSENTIALS if key in described}
    digest = hashlib.sha256(json.dumps([essentials, tokenizer.get_vocab()], sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(_canonical_bytes(tensor))
    return digest.hexdigest()


def _canonical_bytes(tensor: Tensor) -> bytes:
    canonical = tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor
    flat = canonical.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).cpu().numpy().tobytes()


def _reason(base_model: str, wrong: Exception) -> str:
    """Why loading failed, in a sentence. Of what can only be a path the hub's own complaint is about names."""
    if base_model.startswith(("/", "./", "../", "~")) and not Path(base_model).exists():
        return "there is no such folder."
    return (str(wrong).strip() or type(wrong).__name__).splitlines()[0]


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as wrong:
        raise BaseModelUnavailable(
            f"IDIOLECT_DEVICE={wanted} is no device that torch knows; try auto or cpu."
        ) from wrong
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BaseModelUnavailable(f"IDIOLECT_DEVICE={wanted}, but this torch sees no GPU; use auto or cpu.")
    return device


def _dtype(wanted: str, device: torch.device) -> torch.dtype:
    if wanted == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    dtype: Any = getattr(torch, wanted)
    assert isinstance(dtype, torch.dtype)
    return dtype
