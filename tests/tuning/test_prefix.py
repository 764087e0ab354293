import json
import struct
from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny_model import FAMILIES, make_prefix, make_tiny
from tuning.base_model import BaseModel
from tuning.config import TuningConfig
from tuning.errors import InvalidPrefix, WrongBaseModel
from tuning.prefix import FORMAT_VERSION, Prefix


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama")


def header(data: bytes) -> dict[str, dict[str, str]]:
    parsed: dict[str, dict[str, str]] = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    return parsed


def with_metadata(data: bytes, **changes: str) -> bytes:
    """The same file with another description."""
    described = header(data)
    described["__metadata__"] |= changes
    encoded = json.dumps(described).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data[8 + struct.unpack("<Q", data[:8])[0] :]


def logits(base: BaseModel, prefix: Prefix, text: str = "Good morning") -> torch.Tensor:
    ids = torch.tensor([base.encode(text)])
    mask = torch.ones(1, prefix.num_virtual_tokens + ids.shape[1], dtype=torch.long)
    with torch.no_grad():
        out: torch.Tensor = base.model(ids, past_key_values=prefix.as_cache(), attention_mask=mask).logits
    return out


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_it_gives_the_same_logits(family: str) -> None:
    base = make_tiny(family)
    prefix = make_prefix(base)
    loaded = Prefix.from_bytes(prefix.to_bytes(torch.float64), base.fingerprint, layer_shapes=base.layer_shapes)
    assert torch.equal(logits(base, loaded), logits(base, prefix))


def test_storing_a_second_time_loses_nothing_more(base: BaseModel) -> None:
    once = Prefix.from_bytes(make_prefix(base).to_bytes(), base.fingerprint, dtype=base.dtype)
    twice = Prefix.from_bytes(once.to_bytes(), base.fingerprint, dtype=base.dtype)
    assert torch.equal(logits(base, once), logits(base, twice))


def test_it_is_stored_in_sixteen_bits_with_its_description(base: BaseModel) -> None:
    prefix = make_prefix(base)
    data = prefix.to_bytes()
    assert header(data)["__metadata__"] == {
        "format": "idiolect-prefix",
        "format_version": FORMAT_VERSION,
        "base_fingerprint": base.fingerprint,
        "num_virtual_tokens": "4",
        "num_layers": "2",
        "dtype": "float16",
    }
    assert len(data) < prefix.num_bytes / 4 + 2000


def test_a_cache_is_fresh_each_time_and_leaves_the_prefix_untouched(base: BaseModel) -> None:
    prefix = make_prefix(base)
    before = [tensor.clone() for tensor in (*prefix.keys, *prefix.values)]
    first = logits(base, prefix)
    assert torch.equal(logits(base, prefix), first)
    assert all(torch.equal(old, new) for old, new in zip(before, (*prefix.keys, *prefix.values), strict=True))


def test_a_cache_holds_one_row_per_sequence(base: BaseModel) -> None:
    cache = make_prefix(base).as_cache(3)
    assert cache.layers[0].keys.shape == (3, 2, 4, 8)
    assert cache.get_seq_length() == 4


def test_another_base_models_prefix_is_refused_with_both_fingerprints(base: BaseModel) -> None:
    other = make_tiny("llama", seed=1)
    with pytest.raises(WrongBaseModel, match=rf"{base.fingerprint[:12]}.*{other.fingerprint[:12]}"):
        Prefix.from_bytes(make_prefix(base).to_bytes(), other.fingerprint)


@pytest.mark.parametrize("length", [0, 7, 8, 40, 400, -1])
def test_cut_bytes_are_refused(base: BaseModel, length: int) -> None:
    with pytest.raises(InvalidPrefix):
        Prefix.from_bytes(make_prefix(base).to_bytes()[:length], base.fingerprint)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "other"},
        {"format_version": "99"},
        {"num_virtual_tokens": "5"},
        {"num_virtual_tokens": "-4"},
        {"num_virtual_tokens": "9" * 5000},
        {"num_layers": "1"},
        {"num_layers": "999999"},
        {"dtype": "float32"},
        {"dtype": "object"},
    ],
)
def test_a_description_that_does_not_fit_the_tensors_is_refused(base: BaseModel, changes: dict[str, str]) -> None:
    with pytest.raises(InvalidPrefix):
        Prefix.from_bytes(with_metadata(make_prefix(base).to_bytes(), **changes), base.fingerprint)


def test_values_that_are_not_numbers_are_refused_on_both_ways(base: BaseModel) -> None:
    prefix = make_prefix(base)
    prefix.keys[0][0, 0, 0] = float("nan")
    with pytest.raises(InvalidPrefix, match="not finite"):
        prefix.to_bytes()
    data = bytearray(make_prefix(base).to_bytes())
    data[-2:] = b"\x00\x7c"  # infinity in float16
    with pytest.raises(InvalidPrefix, match="not finite"):
        Prefix.from_bytes(bytes(data), base.fingerprint)


def test_layers_of_another_shape_are_refused(base: BaseModel) -> None:
    with pytest.raises(InvalidPrefix, match="layers"):
        Prefix.from_bytes(make_prefix(base).to_bytes(), base.fingerprint, layer_shapes=((2, 8), (2, 16)))


@given(st.binary(max_size=300))
def test_hostile_bytes_raise_nothing_but_invalid_prefix(data: bytes) -> None:
    with pytest.raises(InvalidPrefix):
        Prefix.from_bytes(data, "0" * 64)


@given(st.integers(0, 2000), st.integers(0, 255))
def test_one_altered_byte_never_crashes_the_reader(base: BaseModel, place: int, value: int) -> None:
    data = bytearray(make_prefix(base).to_bytes())
    data[place % len(data)] = value
    with suppress(InvalidPrefix, WrongBaseModel):
        Prefix.from_bytes(bytes(data), base.fingerprint, layer_shapes=base.layer_shapes)


@pytest.mark.parametrize(
    ("layers", "kv_heads", "head_dim", "parameters"),
    [(16, 8, 64, 1.236e9), (28, 2, 128, 1.544e9), (32, 8, 128, 8.03e9)],
    ids=["Llama-3.2-1B", "Qwen2.5-1.5B", "Llama-3.1-8B"],
)
def test_the_default_prefix_is_at_most_a_thousandth_of_the_model(
    layers: int, kv_heads: int, head_dim: int, parameters: float
) -> None:
    numbers = 2 * layers * kv_heads * head_dim * TuningConfig().num_virtual_tokens
    assert numbers <= 0.001 * parameters
