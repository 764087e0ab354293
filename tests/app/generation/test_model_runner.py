from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import FalconConfig, FalconForCausalLM, LlamaConfig, LlamaForCausalLM

from app.generation.bag_attention import CHUNK
from app.generation.errors import ModelUnfit
from app.generation.kv_cache import ChunkedLayer, KVCache
from app.generation.model_runner import LlamaRunner, ModelRunner, PackedRunner, PaddedRunner, Trial, runner_for
from app.generation.sampling import SamplingParams
from app.generation.scheduler import Scheduler
from app.generation.sequence import Sequence
from tests.app.generation.alone import logits_alone
from tests.tiny_model import FAMILIES, MAX_POSITIONS, VOCABULARY, make_prefix, make_tiny, make_tokenizer
from tuning.base_model import BaseModel
from tuning.prefix import Prefix

Runner = type[ModelRunner]


class Batch:
    """Cache, scheduler and runner of one model, driven by hand. Every new token is 7 plus the number of its row.

    asked: of each request the tokens so far and its prefix.
    """

    def __init__(self, base: BaseModel, runner: Runner, max_num_seqs: int = 8, chunk: int = 64) -> None:
        self.base = base
        self.cache = KVCache(base.layer_shapes, max_num_seqs, 96, base.dtype, base.device, runner.layer)
        self.scheduler = Scheduler(self.cache, chunk)
        self.runner = runner(base, self.cache)
        self.asked: dict[Sequence, tuple[list[int], Prefix | None]] = {}

    def ask(self, prompt: list[int], prefix: Prefix | None) -> Sequence:
        sequence = Sequence(prompt, SamplingParams(temperature=0), prefix, room=50)
        self.scheduler.waiting.extend([sequence])
        self.asked[sequence] = list(prompt), prefix
        return sequence

    def add(self, prompt: list[int], prefix: Prefix | None) -> Sequence:
        """Ask, and go on until the whole prompt is read."""
        sequence = self.ask(prompt, prefix)
        while sequence.num_prompt_left:
            self.step()
        return sequence

    def step(self) -> dict[Sequence, torch.Tensor]:
        """One step; returns the logits of those that are through their prompts."""
        parts = self.scheduler.next_parts()
        writing = self.scheduler.writing
        for sequence in writing:
            self.asked[sequence][0].append(sequence.last_token_id)
        logits = self.runner.run(writing, parts)
        sequences = [*writing, *(sequence for sequence, _ in parts)]
        seen = {one: row for one, row in zip(sequences, logits, strict=True) if one.num_prompt_left == 0}
        for sequence in seen:
            assert sequence.row is not None
            sequence.last_token_id = 7 + sequence.row
        return seen

    def check_step(self) -> int:
        """One step that must give each one what the model says of its text alone; returns how many there were."""
        seen = self.step()
        for sequence, logits in seen.items():
            torch.testing.assert_close(logits, logits_alone(self.base, *self.asked[sequence]))
        return len(seen)


@pytest.fixture(params=[PackedRunner, PaddedRunner, LlamaRunner])
def make_batch(request: pytest.FixtureRequest, bases: dict[str, BaseModel]) -> Callable[..., Batch]:
    """Each way, on a Llama or on the family that is named."""

    def make(family: str = "llama", **options: int) -> Batch:
        if request.param is LlamaRunner and family != "llama":
            pytest.skip("it has no pass of its own")
        return Batch(bases[family], request.param, **options)

    return make


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rows_logits_in_a_mixed_batch_are_those_of_the_row_alone(
    make_batch: Callable[..., Batch], family: str
) -> None:
    batch = make_batch(family)
    base = batch.base
    for number, prefix in enumerate((None, make_prefix(base, 3), make_prefix(base, 9, seed=1), None)):
        batch.add([5 + number] * (1 + 9 * number), prefix)
    assert sum(batch.check_step() for _ in range(3)) == 12


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_that_are_read_together_get_the_logits_of_their_own_last_tokens(
    make_batch: Callable[..., Batch], family: str
) -> None:
    batch = make_batch(family)
    base = batch.base
    for request in (([5, 6, 7], make_prefix(base, 4)), ([9], None), ([8] * 12, make_prefix(base, 1)), ([4] * 5, None)):
        batch.ask(*request)
    assert batch.check_step() == 4


def test_prompts_that_are_read_in_parts_while_others_write_change_nobodys_logits(
    make_batch: Callable[..., Batch],
) -> None:
    batch = make_batch(chunk=5)
    base = batch.base
    for number, length in enumerate((1, 23, 2, 9, 31)):
        batch.ask([3 + number, 99] * length, make_prefix(base, 1 + number, seed=number) if number % 2 else None)
    assert sum(batch.check_step() for _ in range(30)) > 60


@pytest.mark.parametrize("family", FAMILIES)
def test_neighbours_that_leave_are_replaced_retrained_or_deleted_change_nobodys_logits(
    make_batch: Callable[..., Batch], family: str
) -> None:
    batch = make_batch(family)
    base = batch.base
    first, kept = batch.add([9] * 30, make_prefix(base, 4, seed=6)), batch.add([5, 6, 7], make_prefix(base, 5))
    retrained, deleted = batch.add([4] * 20, make_prefix(base, 8)), batch.add([8], make_prefix(base, 3, seed=2))
    for change in ("none", "leave", "replace", "retrain", "delete", "alone"):
        match change:
            case "leave":
                batch.scheduler.release_all(first)
            case "replace":
                batch.ask([3] * 40, make_prefix(base, 2, seed=4))  # takes the row that fell free
            case "retrain":  # the same owner's next request comes with another prefix while this one still writes
                batch.ask([4] * 20, make_prefix(base, 8, seed=9))
                batch.check_step()
                batch.scheduler.release_all(retrained)
            case "delete":
                deleted.cancelled = True
                batch.scheduler.drop_cancelled()
            case "alone":
                for neighbour in [one for one in batch.scheduler.running if one is not kept]:
                    batch.scheduler.release_all(neighbour)
        assert batch.check_step() >= 1
        assert kept.row is not None


def test_what_lies_in_other_rows_or_beyond_a_rows_end_never_reaches_its_logits(
    make_batch: Callable[..., Batch],
) -> None:
    clean, soiled = make_batch(), make_batch()
    rows = {batch: batch.add([5, 6, 7], make_prefix(batch.base, 3)) for batch in (clean, soiled)}
    for batch in rows:
        batch.add([9] * 70, None)  # more than one chunk of keys
    beyond = torch.arange(rows[soiled].length + 1, 96)
    for layer in soiled.cache.rows:
        layer.values[0, :, beyond] = 1e6
        if isinstance(layer, ChunkedLayer):
            layer.keys[0][beyond // CHUNK, :, :, beyond % CHUNK] = 1e6
        else:
            layer.keys[0, :, beyond] = 1e6
        for buffer in (layer.keys, layer.values):
            buffer[2:] = 1e6
    clean_logits, soiled_logits = clean.step(), soiled.step()
    assert torch.equal(clean_logits[rows[clean]], soiled_logits[rows[soiled]])


def test_a_released_row_is_zero_down_to_its_scratch(make_batch: Callable[..., Batch]) -> None:
    batch = make_batch()
    for prompt in ([5, 6], [9] * 70):  # together, so that the first is padded; more than one chunk of keys
        batch.ask(prompt, make_prefix(batch.base, 3))
    batch.step()
    batch.step()
    assert all(layer.keys[:2].any() for layer in batch.cache.rows)
    for sequence in batch.scheduler.writing:
        batch.scheduler.release_all(sequence)
    assert not any(layer.keys.any() or layer.values.any() for layer in batch.cache.rows)


def test_the_buffers_are_allocated_once_and_their_memory_is_told(make_batch: Callable[..., Batch]) -> None:
    batch = make_batch()
    places = [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in batch.cache.rows]
    first = batch.add([5, 6, 7], make_prefix(batch.base, 3))
    batch.add([9] * 20, None)
    batch.step()
    batch.scheduler.release_all(first)
    batch.step()
    assert places == [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in batch.cache.rows]
    positions = 97 + (2 * CHUNK if isinstance(batch.cache.rows[0], ChunkedLayer) else 97)
    elements = sum(8 * heads * positions * head_dim for heads, head_dim in batch.base.layer_shapes)
    assert batch.cache.num_bytes == 8 * elements


@pytest.mark.parametrize("family", FAMILIES)
def test_on_a_processor_every_family_here_is_packed(family: str) -> None:
    base = make_tiny(family)
    runner = runner_for(base, 2, 16)
    assert isinstance(runner, PackedRunner)
    assert isinstance(runner, LlamaRunner) is (family == "llama")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("runner", [PackedRunner, PaddedRunner])
@pytest.mark.parametrize("family", ["gpt2", "llama"])  # heads with keys of their own, and such that share them
def test_in_the_types_that_are_served_a_row_is_what_it_is_alone_within_rounding(
    family: str, runner: Runner, dtype: torch.dtype
) -> None:
    base, exact = make_tiny(family, dtype), make_tiny(family)
    batch, prefix = Batch(base, runner), make_prefix(base, 4)
    batch.ask([9] * 20, None)
    kept = batch.ask([5, 6, 7], prefix)
    batch.step()
    expected = logits_alone(exact, [5, 6, 7, kept.last_token_id], prefix.to(dtype=torch.float64))
    error = (batch.step()[kept].double() - expected).abs().max() / expected.abs().max()
    assert error < (0.05 if dtype == torch.bfloat16 else 1e-5)


def llama(dtype: torch.dtype, kv_heads: int) -> BaseModel:
    """With every bias that there can be."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        attention_bias=True,
        mlp_bias=True,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.3,
        max_position_embeddings=MAX_POSITIONS,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).to(dtype).eval()
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                torch.nn.init.normal_(parameter, std=0.3)
    return BaseModel.of(model, make_tokenizer(), name="llama", num_virtual_tokens=4, max_context=MAX_POSITIONS)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-9), (torch.float32, 1e-5), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_a_small_llama_of_any_type_goes_through_the_pass_made_for_it(
    kv_heads: int, dtype: torch.dtype, most: float
) -> None:
    base, exact = llama(dtype, kv_heads), llama(torch.float64, kv_heads)
    exact.model.load_state_dict(base.model.state_dict())
    assert type(runner_for(base, 2, 16)) is LlamaRunner
    batch, prefix = Batch(base, LlamaRunner), make_prefix(base, 4)
    batch.ask([9] * 20, None)
    kept = batch.ask([5, 6, 7], prefix)
    batch.step()
    expected = logits_alone(exact, [5, 6, 7, kept.last_token_id], prefix.to(dtype=torch.float64))
    assert (batch.step()[kept].double() - expected).abs().max() < most * expected.abs().max()


def test_a_large_llama_keeps_its_own_code(base: BaseModel) -> None:
    large = replace(base, num_parameters=10**9)
    assert type(runner_for(large, 2, 16)) is PackedRunner


def test_a_llama_with_other_layers_keeps_its_own_code() -> None:
    base = make_tiny()
    changed = base.model.model.layers[1].mlp
    changed.up_proj = torch.nn.Sequential(changed.up_proj, torch.nn.Tanh())
    assert type(runner_for(base, 2, 16)) is PackedRunner


def test_the_packed_back_end_is_sdpa_for_everybody_else(base: BaseModel) -> None:
    plain, packed = make_tiny(), make_tiny()
    PackedRunner(packed, KVCache(packed.layer_shapes, 1, 16, packed.dtype, packed.device, PackedRunner.layer))
    assert packed.model.config._attn_implementation != plain.model.config._attn_implementation
    prefix = make_prefix(plain, 4)
    assert torch.equal(logits_alone(packed, [5, 6, 7], prefix), logits_alone(plain, [5, 6, 7], prefix))


def falcon() -> BaseModel:
    """A family with an attention of its own, which takes no back end from outside."""
    config = FalconConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.3,
        max_position_embeddings=MAX_POSITIONS,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = FalconForCausalLM(config).double().eval()
    return BaseModel.of(model, make_tokenizer(), name="falcon", num_virtual_tokens=4, max_context=MAX_POSITIONS)


def test_a_family_that_the_packed_way_does_not_fit_is_padded() -> None:
    base = falcon()
    assert isinstance(runner_for(base, 4, 64), PaddedRunner)
    assert base.model.config._attn_implementation == "sdpa"
    batch = Batch(base, PaddedRunner)
    prefix = make_prefix(base, 3)
    batch.ask([9] * 20, None)
    kept = batch.ask([5, 6, 7], prefix)
    torch.testing.assert_close(batch.step()[kept], logits_alone(base, [5, 6, 7], prefix))


def test_attention_that_has_more_to_it_is_not_packed() -> None:
    base = make_tiny("qwen3")
    base.model.set_attn_implementation("eager")  # as such families have it
    for layer in base.model.model.layers:
        own = layer.self_attn.forward
        layer.self_attn.forward = lambda *given, own=own, **named: own(*given, softcap=30.0, **named)
    assert isinstance(runner_for(base, 2, 16), PaddedRunner)
    assert base.model.config._attn_implementation == "eager"


def test_a_mask_that_the_model_changed_is_not_left_out() -> None:
    base = make_tiny()
    for layer in base.model.model.layers:
        own = layer.self_attn.forward

        def with_bias(*given: object, own: Callable[..., object] = own, **named: Any) -> object:
            mask = named.pop("attention_mask")
            return own(*given, attention_mask=mask if mask is None else mask + torch.zeros(1, 1, 5, 5), **named)

        layer.self_attn.forward = with_bias
    with pytest.raises(ModelUnfit):
        Trial(base).run(PackedRunner)


def test_a_model_on_which_rows_of_different_lengths_break_is_refused_at_the_start() -> None:
    base = make_tiny()
    for layer in base.model.model.layers:
        own = layer.self_attn.forward

        def with_neighbours(*given: object, own: Callable[..., Any] = own, **named: object) -> object:
            output, weights = own(*given, **named)
            return output + output.mean((0, 1), keepdim=True), weights

        layer.self_attn.forward = with_neighbours
    with pytest.raises(ModelUnfit, match="rows"):
        runner_for(base, 4, 64)


def test_an_attention_back_end_without_masks_is_refused() -> None:
    base = make_tiny()
    base.model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ModelUnfit, match="attn_implementation='sdpa'"):
        runner_for(base, 1, 16)
