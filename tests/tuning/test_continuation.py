import pytest
import torch
from transformers import GenerationConfig

from tests.tiny_model import FAMILIES, make_prefix, make_tiny
from tuning.base_model import BaseModel
from tuning.continuation import continuations
from tuning.prefix import Prefix

BEGINNINGS = ("The ferry was late", "I", "Three rules for walking with my uncle. First")


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama")


def alone(base: BaseModel, prefix: Prefix | None, ids: list[int], num_tokens: int) -> str:
    """The oracle: one row without padding, every step a forward pass of its own over all of it."""
    length = prefix.num_virtual_tokens if prefix else 0
    row = list(ids)
    for _ in range(num_tokens):
        cache = prefix.as_cache() if prefix else None
        mask = torch.ones(1, length + len(row), dtype=torch.long)
        with torch.no_grad():
            logits = base.model(torch.tensor([row]), attention_mask=mask, past_key_values=cache).logits
        row.append(int(logits[0, -1].argmax()))
        if row[-1] == base.document_start_id:
            break
    return base.decode(row[len(ids) :])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_left_padded_batch_says_what_each_row_says_alone(family: str) -> None:
    base = make_tiny(family)
    begun = [base.encode(text) for text in BEGINNINGS]
    spoken = {}
    for prefix in (None, make_prefix(base)):
        made = continuations(base, prefix, begun, num_tokens=24, temperature=0, seed=0)
        assert made == [alone(base, prefix, ids, 24) for ids in begun]
        spoken[prefix is None] = made
    assert spoken[True] != spoken[False]


def test_a_prefix_says_what_generate_says_of_one_row(base: BaseModel) -> None:
    prefix = make_prefix(base)
    for text in BEGINNINGS:
        ids = torch.tensor([base.encode(text)])
        mask = torch.ones(1, prefix.num_virtual_tokens + ids.shape[1], dtype=torch.long)
        greedy = GenerationConfig(max_new_tokens=24, do_sample=False, pad_token_id=0)
        row = base.model.generate(ids, attention_mask=mask, past_key_values=prefix.as_cache(), generation_config=greedy)
        (made,) = continuations(base, prefix, [ids[0].tolist()], num_tokens=24, temperature=0, seed=0)
        assert made == base.decode(row[0, ids.shape[1] :].tolist())


def test_the_same_seed_draws_the_same_and_leaves_the_random_state_alone(base: BaseModel) -> None:
    begun = [base.encode(text) for text in BEGINNINGS]
    before = torch.get_rng_state()
    drawn = [continuations(base, None, begun, num_tokens=20, temperature=0.8, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_prefix_itself_is_not_changed(base: BaseModel) -> None:
    prefix = make_prefix(base)
    digest, shape = prefix.digest, prefix.keys[0].shape
    continuations(base, prefix, [base.encode("The")] * 3, num_tokens=8, temperature=0.8, seed=0)
    assert (prefix.digest, prefix.keys[0].shape) == (digest, shape)


def test_the_checkpoints_own_settings_of_generation_do_not_count() -> None:
    plain, settings = make_tiny("llama"), make_tiny("llama")
    settings.model.generation_config.update(repetition_penalty=9.0, top_k=1, do_sample=True, no_repeat_ngram_size=2)
    begun = [plain.encode(text) for text in BEGINNINGS]
    for temperature in (0.0, 0.8):
        made = [
            continuations(base, None, begun, num_tokens=24, temperature=temperature, seed=3)
            for base in (plain, settings)
        ]
        assert made[0] == made[1]
