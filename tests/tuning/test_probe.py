from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    FalconMambaConfig,
    FalconMambaForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.tiny_model import FAMILIES, make_model
from tuning.errors import BaseModelRefused
from tuning.probe import ProbeReport, probe

SIZES: dict[str, Any] = {
    "vocab_size": 200,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}


def probed(model: PreTrainedModel, context_length: int = 128) -> ProbeReport:
    return probe(model.to(torch.float64).eval(), num_virtual_tokens=4, context_length=context_length)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_supported_family_is_accepted_with_exact_agreement_and_a_visible_prefix(family: str) -> None:
    report = probed(make_model(family))
    assert report.disagreement < 1e-12
    assert report.near_effect > 0.1
    assert report.far_effect > 1e-3


def test_layer_shapes_come_from_a_forward_pass_not_from_hidden_size() -> None:
    assert probed(make_model("llama")).layer_shapes == ((2, 8), (2, 8))
    assert probed(make_model("qwen3")).layer_shapes == ((2, 16), (2, 16))


def test_the_report_is_plain_json() -> None:
    figures = probed(make_model("gpt2")).figures()
    assert figures["layer_shapes"] == [[4, 8], [4, 8]]
    assert {"near_effect", "far_effect", "disagreement", "context_length", "num_virtual_tokens"} <= figures.keys()


def test_half_precision_is_accepted() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        probe(make_model("llama", dtype), num_virtual_tokens=4, context_length=128)


def test_an_all_sliding_window_model_is_refused_when_the_window_is_shorter_than_the_context() -> None:
    model = MistralForCausalLM(MistralConfig(sliding_window=16, **SIZES))
    with pytest.raises(BaseModelRefused, match="last 16 tokens"):
        probed(model)


def test_a_window_as_long_as_the_context_is_accepted() -> None:
    probed(MistralForCausalLM(MistralConfig(sliding_window=128, **SIZES)))


def test_a_model_with_some_sliding_layers_is_refused() -> None:
    model = Gemma3ForCausalLM(
        Gemma3TextConfig(head_dim=8, sliding_window=16, layer_types=["sliding_attention", "full_attention"], **SIZES)
    )
    with pytest.raises(BaseModelRefused, match="window"):
        probed(model)


def test_a_window_that_the_cache_does_not_show_is_found_by_its_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MistralForCausalLM(MistralConfig(sliding_window=16, **SIZES))
    monkeypatch.setattr("tuning.probe._refuse_layer", lambda *_: None)
    with pytest.raises(BaseModelRefused, match="no longer matters"):
        probed(model)


def test_a_window_in_the_models_own_mask_is_refused() -> None:
    sizes = {name: SIZES[name] for name in ("vocab_size", "hidden_size", "max_position_embeddings", "pad_token_id")}
    layers = {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 16}
    model = GPTNeoForCausalLM(GPTNeoConfig(**layers, **sizes))
    with pytest.raises(BaseModelRefused, match="last 16 tokens"):
        probed(model)


def test_positions_that_turn_by_the_longest_row_are_refused_where_a_row_can_be_that_long() -> None:
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "rope_theta": 10000.0}
    config = Phi3Config(rope_parameters=rope, original_max_position_embeddings=96, **SIZES)
    with pytest.raises(BaseModelRefused, match="IDIOLECT_MAX_CONTEXT=96"):
        probed(Phi3ForCausalLM(config))
    probed(Phi3ForCausalLM(config), context_length=96)


def test_keys_and_values_of_unlike_shape_are_refused() -> None:
    latent = {"kv_lora_rank": 16, "q_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
    model = DeepseekV3ForCausalLM(
        DeepseekV3Config(first_k_dense_replace=2, **latent, **SIZES | {"num_key_value_heads": 4})
    )
    with pytest.raises(BaseModelRefused, match="not of one shape"):
        probed(model)


def test_linear_attention_is_refused() -> None:
    model = Lfm2ForCausalLM(Lfm2Config(layer_types=["conv", "full_attention"], **SIZES))
    with pytest.raises(BaseModelRefused, match="linear attention"):
        probed(model)


def test_a_state_space_model_is_refused() -> None:
    model = FalconMambaForCausalLM(FalconMambaConfig(vocab_size=200, hidden_size=16, num_hidden_layers=2, state_size=4))
    with pytest.raises(BaseModelRefused):
        probed(model)


def test_an_encoder_decoder_model_is_refused() -> None:
    model = T5ForConditionalGeneration(
        T5Config(vocab_size=200, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, decoder_start_token_id=0)
    )
    with pytest.raises(BaseModelRefused, match="encoder-decoder"):
        probed(model)


def test_positions_that_lie_in_the_mask_are_refused() -> None:
    model = FalconForCausalLM(
        FalconConfig(vocab_size=200, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=True)
    )
    with pytest.raises(BaseModelRefused, match="ALiBi"):
        probed(model)


def test_a_context_without_room_for_text_behind_the_prefix_is_refused() -> None:
    with pytest.raises(BaseModelRefused, match="leaves no room"):
        probed(make_model("gpt2"), context_length=20)


class DeafToPrefix(torch.nn.Module):
    """A model that computes as if nothing were cached."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model, self.config, self.device, self.dtype = model, model.config, model.device, model.dtype

    def forward(
        self, input_ids: Tensor, position_ids: Tensor | None = None, use_cache: bool = True, **_: object
    ) -> Any:
        return self.model(input_ids, use_cache=use_cache)


def test_a_model_that_ignores_its_cache_is_refused() -> None:
    deaf: Any = DeafToPrefix(make_model("llama"))
    with pytest.raises(BaseModelRefused, match="ignore the cache"):
        probe(deaf, num_virtual_tokens=4, context_length=128)
