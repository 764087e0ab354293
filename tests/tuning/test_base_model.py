from pathlib import Path

import pytest
import torch

from tests.tiny_model import FAMILIES, MAX_POSITIONS, make_model, make_tiny, make_tokenizer, save_tiny
from tuning.base_model import fingerprint, load_base_model
from tuning.config import TuningConfig
from tuning.errors import BaseModelRefused, BaseModelUnavailable


def tiny_config(folder: Path, **changes: object) -> TuningConfig:
    return TuningConfig(base_model=str(folder), base_model_name="tiny", num_virtual_tokens=4, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_of_each_family_loads_frozen_and_probed(family: str, tmp_path: Path) -> None:
    base = load_base_model(tiny_config(save_tiny(family, tmp_path)))

    assert not base.model.training
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert base.context_length == MAX_POSITIONS
    assert len(base.layer_shapes) == 2
    assert base.num_virtual_tokens_probed == 4
    assert base.dtype == torch.float32
    assert base.num_parameters > 1000


def test_one_checkpoint_has_one_fingerprint_in_every_type_it_is_loaded_in(tmp_path: Path) -> None:
    folder = save_tiny("llama", tmp_path)
    prints = {
        load_base_model(tiny_config(folder, dtype=dtype)).fingerprint for dtype in ("float32", "bfloat16", "float64")
    }
    assert len(prints) == 1


def test_other_weights_architecture_or_vocabulary_have_other_fingerprints() -> None:
    tokenizer, renumbered = make_tokenizer(), make_tokenizer()
    renumbered.add_tokens(["<|more|>"])
    llama = make_model("llama")
    rotated = make_model("llama")
    rotated.config.rope_parameters = {**rotated.config.rope_parameters, "rope_theta": 12345.0}
    models = (llama, rotated, make_model("llama", seed=1), make_model("qwen3"))
    prints = {fingerprint(model, tokenizer) for model in models} | {fingerprint(llama, renumbered)}
    assert len(prints) == 5


def test_the_context_served_is_capped_by_the_configuration(tmp_path: Path) -> None:
    assert load_base_model(tiny_config(save_tiny("llama", tmp_path), max_context=100)).context_length == 100


def test_text_is_led_by_the_document_start_and_comes_back_unchanged() -> None:
    base = make_tiny()
    ids = base.encode("Grüße — ok\n")
    assert ids[0] == base.document_start_id
    assert base.encode("Grüße — ok\n", document_start=False) == ids[1:]
    assert base.decode(ids) == "Grüße — ok\n"


def test_control_tokens_spelled_out_by_a_person_stay_text() -> None:
    base = make_tiny()
    ids = base.encode("a<|endoftext|>b", document_start=False)
    assert base.document_start_id not in ids
    assert base.decode(ids) == "a<|endoftext|>b"


def test_a_missing_folder_is_unavailable_and_the_message_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BaseModelUnavailable, match=r"there is no such folder\. Set IDIOLECT_BASE_MODEL"):
        load_base_model(tiny_config(tmp_path / "nothing"))
    with pytest.raises(BaseModelUnavailable, match=r"nobody/nothing can't be loaded: .*IDIOLECT_BASE_MODEL"):
        load_base_model(tiny_config(Path("nobody/nothing")))


def test_a_damaged_weight_file_is_unavailable(tmp_path: Path) -> None:
    weights = save_tiny("gpt2", tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BaseModelUnavailable, match="can't be loaded"):
        load_base_model(tiny_config(tmp_path))


def test_an_encoder_decoder_model_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5", "is_encoder_decoder": true}')
    with pytest.raises(BaseModelRefused, match="encoder-decoder"):
        load_base_model(tiny_config(tmp_path))


@pytest.mark.parametrize("device", ["cuda", "toaster"])
def test_a_device_that_is_not_there_is_named(device: str, tmp_path: Path) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(BaseModelUnavailable, match="IDIOLECT_DEVICE"):
        load_base_model(tiny_config(save_tiny("gpt2", tmp_path), device=device))
