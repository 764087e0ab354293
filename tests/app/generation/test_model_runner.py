import pytest
import torch

from app.generation.kv_cache import KVCache
from app.generation.model_runner import ModelRunner
from app.generation.sampling import SamplingParams
from app.generation.scheduler import Scheduler
from app.generation.sequence import Sequence
from tests.app.generation.alone import logits_alone
from tests.tiny_model import FAMILIES, make_prefix, make_tiny
from tuning.base_model import BaseModel
from tuning.prefix import Prefix


class Batch:
    """Cache, scheduler and runner of one model, driven by hand."""

    def __init__(self, base: BaseModel, max_num_seqs: int = 8) -> None:
        self.cache = KVCache(base.layer_shapes, max_num_seqs, 96, base.dtype, base.device)
        self.scheduler = Scheduler(self.cache, prefill_chunk=64)
        self.runner = ModelRunner(base, self.cache)
        self.texts: dict[Sequence, list[int]] = {}

    def add(self, prompt: list[int], prefix: Prefix | None) -> Sequence:
        """Cache a whole prompt; its first new token is 7."""
        sequence = Sequence(prompt, SamplingParams(temperature=0), prefix, room=50)
        self.scheduler.waiting.append(sequence)
        self.run_prefill()
        return sequence

    def run_prefill(self) -> torch.Tensor:
        batch = self.scheduler.next_prefill()
        logits = self.runner.prefill(batch)
        for sequence, _ in batch:
            self.scheduler.start_decoding(sequence)
            self.texts[sequence] = [*sequence.prompt, 7]
            sequence.last_token_id = 7
        return logits

    def decode(self) -> dict[Sequence, torch.Tensor]:
        """One step of all rows; the token after it is 11 for everyone."""
        sequences = self.scheduler.decoding
        logits = self.runner.decode(sequences)
        seen = dict(zip(sequences, logits, strict=True))
        for sequence in sequences:
            self.texts[sequence].append(11)
            sequence.last_token_id = 11
        return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rows_logits_in_a_mixed_batch_are_those_of_the_row_alone(bases: dict[str, BaseModel], family: str) -> None:
    base = bases[family]
    batch = Batch(base)
    prefixes = {
        batch.add([5 + n] * (1 + 9 * n), prefix): prefix
        for n, prefix in enumerate((None, make_prefix(base, 3), make_prefix(base, 9, seed=1), None))
    }
    for _ in range(3):
        texts = {sequence: list(text) for sequence, text in batch.texts.items()}
        for sequence, logits in batch.decode().items():
            torch.testing.assert_close(logits, logits_alone(base, texts[sequence], prefixes[sequence]))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_prefill_gives_every_row_the_logits_of_its_own_last_token(
    bases: dict[str, BaseModel], family: str
) -> None:
    base = bases[family]
    batch = Batch(base)
    requests = [([5, 6, 7], make_prefix(base, 4)), ([9], None), ([8] * 12, make_prefix(base, 1)), ([4] * 5, None)]
    for prompt, prefix in requests:
        batch.scheduler.waiting.append(Sequence(prompt, SamplingParams(), prefix, room=50))
    for logits, (prompt, prefix) in zip(batch.run_prefill(), requests, strict=True):
        torch.testing.assert_close(logits, logits_alone(base, prompt, prefix))


def test_a_rows_logits_do_not_change_when_neighbours_leave_and_others_take_their_place(base: BaseModel) -> None:
    prefix = make_prefix(base, 5)
    calm, busy = Batch(base), Batch(base)
    kept_calm = calm.add([5, 6, 7], prefix)
    first, kept, last = busy.add([9] * 30, None), busy.add([5, 6, 7], prefix), busy.add([4] * 20, make_prefix(base, 8))
    for step in range(6):
        if step == 1:
            busy.scheduler.release(first)
        if step == 2:
            busy.add([3] * 40, make_prefix(base, 2, seed=4))
        if step == 4:
            busy.scheduler.release(last)
        torch.testing.assert_close(busy.decode()[kept], calm.decode()[kept_calm])


def test_what_lies_in_other_rows_or_beyond_a_rows_end_never_reaches_its_logits(base: BaseModel) -> None:
    clean, soiled = Batch(base), Batch(base)
    rows = {batch: batch.add([5, 6, 7], make_prefix(base, 3)) for batch in (clean, soiled)}
    for batch in rows:
        batch.add([9] * 20, None)
    for layer in soiled.cache.rows:
        for buffer in (layer.keys, layer.values):
            buffer[0, :, rows[soiled].length + 1 :] = 1e6
            buffer[2:] = 1e6
    clean_logits, soiled_logits = clean.decode(), soiled.decode()
    assert torch.equal(clean_logits[rows[clean]], soiled_logits[rows[soiled]])


def test_a_released_row_is_zero_down_to_its_scratch(base: BaseModel) -> None:
    batch = Batch(base)
    for prompt in ([5, 6], [9] * 20):  # together, so that the first is padded
        batch.scheduler.waiting.append(Sequence(prompt, SamplingParams(), make_prefix(base, 3), room=50))
    batch.run_prefill()
    batch.decode()
    assert all(layer.keys[:2].any() for layer in batch.cache.rows)
    for sequence in batch.scheduler.decoding:
        batch.scheduler.release(sequence)
    assert not any(layer.keys.any() or layer.values.any() for layer in batch.cache.rows)


def test_the_buffers_are_allocated_once(base: BaseModel) -> None:
    batch = Batch(base)
    places = [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in batch.cache.rows]
    first = batch.add([5, 6, 7], make_prefix(base, 3))
    batch.add([9] * 20, None)
    batch.decode()
    batch.scheduler.release(first)
    batch.decode()
    assert places == [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in batch.cache.rows]
    elements = sum(2 * 8 * heads * 97 * head_dim for heads, head_dim in base.layer_shapes)
    assert batch.cache.num_bytes == 8 * elements


def test_an_attention_back_end_without_masks_is_refused() -> None:
    base = make_tiny()
    base.model.config._attn_implementation = "flash_attention_2"
    cache = KVCache(base.layer_shapes, 1, 16, base.dtype, base.device)
    with pytest.raises(ValueError, match="attn_implementation='sdpa'"):
        ModelRunner(base, cache)
