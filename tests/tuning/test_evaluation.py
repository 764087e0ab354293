import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from tests.tiny_model import FAMILIES, make_prefix, make_tiny
from tests.tuning.texts import CANARIES, plain, written
from tuning import evaluation
from tuning.base_model import BaseModel
from tuning.dataset import Block, Split, WrittenText, build_split
from tuning.errors import InvalidPrefix
from tuning.evaluation import bits_per_char, cross_user_losses, judge, rank1
from tuning.prefix import Prefix
from tuning.prefix_encoder import start_from_tokens
from tuning.trainer import TrainingJob, TrainingResult, TrainingSettings, train_prefixes


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama")


@pytest.fixture(scope="module")
def split(base: BaseModel) -> Split:
    return build_split(base, written(CANARIES[0], 8), num_virtual_tokens=4)


def one_at_a_time(base: BaseModel, prefix: Prefix | None, blocks: tuple[Block, ...]) -> float:
    """The oracle: every token's probability by a forward pass of its own over what stands before it."""
    nats = 0.0
    for block in blocks:
        for place in range(block.num_context, len(block.token_ids)):
            ids = torch.tensor([block.token_ids[:place]])
            length = prefix.num_virtual_tokens if prefix else 0
            mask = torch.ones(1, length + place, dtype=torch.long)
            cache = prefix.as_cache() if prefix else None
            with torch.no_grad():
                logits = base.model(ids, attention_mask=mask, past_key_values=cache).logits
            nats -= float(logits[0, -1].log_softmax(-1)[block.token_ids[place]])
    return nats / math.log(2) / sum(block.num_chars for block in blocks)


@pytest.mark.parametrize("family", FAMILIES)
def test_batched_scoring_equals_one_token_at_a_time_with_and_without_a_prefix(family: str) -> None:
    base = make_tiny(family)
    writings = [WrittenText(plain(words)) for words in (25, 9, 40, 16, 22)]
    blocks = build_split(base, writings, num_virtual_tokens=4)
    some = tuple(replace(block, token_ids=block.token_ids[:20]) for block in (*blocks.test, *blocks.stop))
    some = (*some, replace(some[0], token_ids=some[0].token_ids[:11]))
    for prefix in (None, make_prefix(base)):
        assert bits_per_char(base, prefix, some) == pytest.approx(one_at_a_time(base, prefix, some), abs=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_long_text_is_scored_in_windows_as_it_would_be_at_once(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_tiny(family)
    writings = [WrittenText(plain(words)) for words in (25, 9, 40, 16, 22)]
    blocks = build_split(base, writings, num_virtual_tokens=4).train
    lengths: list[int] = []
    for prefix in (None, make_prefix(base)):
        at_once = bits_per_char(base, prefix, blocks)
        with monkeypatch.context() as patched, watched(base, lengths):
            patched.setattr(evaluation, "_LOGITS_AT_ONCE", {})
            patched.setattr(evaluation, "TRAIN_BLOCK_TOKENS", 7)
            patched.setattr(evaluation, "_FEWER_LOGITS", 1)
            assert bits_per_char(base, prefix, blocks) == pytest.approx(at_once, abs=1e-10)
    assert max(lengths) == 7


@contextmanager
def watched(base: BaseModel, lengths: list[int]) -> Iterator[None]:
    """Note how many tokens each pass through the model has."""
    handle = base.model.get_input_embeddings().register_forward_hook(
        lambda _module, ids, _out: lengths.append(ids[0].shape[1])
    )
    yield
    handle.remove()


def test_a_prefix_of_real_tokens_scores_like_those_tokens_in_front(base: BaseModel, split: Split) -> None:
    before = base.encode("The lamps", document_start=False)[:3]
    prefix = start_from_tokens(base, before, 4)
    block = split.test[0]
    room = len(block.token_ids) - 8
    shorter = replace(block, token_ids=block.token_ids[:room])
    whole = replace(
        shorter, token_ids=(base.document_start_id, *before, *shorter.token_ids), num_context=4 + block.num_context
    )
    assert bits_per_char(base, prefix, [shorter]) == pytest.approx(bits_per_char(base, None, [whole]), abs=1e-10)


def test_the_order_and_the_batching_of_blocks_do_not_matter(base: BaseModel, split: Split) -> None:
    blocks = [*split.train, *split.test]
    prefix = make_prefix(base)
    assert bits_per_char(base, prefix, blocks) == pytest.approx(bits_per_char(base, prefix, blocks[::-1]), abs=1e-12)


def result_of(base: BaseModel, split: Split) -> TrainingResult:
    settings = TrainingSettings(
        num_virtual_tokens=4, hidden=16, learning_rate=0.05, tokens_per_step=200, max_steps=6, evaluate_every=2
    )
    (result,) = train_prefixes(base, [TrainingJob(split)], settings)
    assert result is not None
    return result


def test_a_voice_that_beats_the_base_on_the_test_set_is_published_as_judged(base: BaseModel, split: Split) -> None:
    verdict = judge(base, split, result_of(base, split))
    stored = Prefix.from_bytes(verdict.data, base.fingerprint, dtype=base.dtype)
    assert verdict.publish
    assert verdict.reason is None
    assert verdict.figures["voice_bits_per_char"] == bits_per_char(base, stored, split.test)
    assert verdict.figures["base_bits_per_char"] == bits_per_char(base, None, split.test)
    assert verdict.figures["reduction_pct"] > 0
    assert verdict.figures["test_samples"] == split.num_test_samples
    assert verdict.figures.keys() == {
        *("samples", "test_samples", "train_tokens", "stop_tokens", "test_tokens"),
        *("base_bits_per_char", "voice_bits_per_char", "reduction_pct", "train_seconds"),
        *("prefix_bytes", "num_virtual_tokens", "steps", "best_step"),
    }


def test_a_voice_that_does_not_is_kept_back_with_the_reason_and_what_would_help(base: BaseModel, split: Split) -> None:
    random = make_prefix(base)
    loud = replace(random, values=tuple(50 * values for values in random.values))
    harmful = replace(result_of(base, split), prefix=loud)
    verdict = judge(base, split, harmful)
    assert not verdict.publish
    assert verdict.reason is not None
    assert "no closer to you" in verdict.reason
    assert f"It had {split.num_samples} pieces; more pieces help most" in verdict.reason
    assert verdict.figures["reason"] == verdict.reason


def test_a_diverged_prefix_is_refused(base: BaseModel, split: Split) -> None:
    result = result_of(base, split)
    result.prefix.values[0][0, 0, 0] = float("inf")
    with pytest.raises(InvalidPrefix, match="not finite"):
        judge(base, split, result)


def test_a_prefix_that_could_not_be_measured_is_not_published_and_says_so() -> None:
    base = make_tiny("llama", torch.float16)
    split = build_split(base, written(CANARIES[0], 8), num_virtual_tokens=4)
    random = make_prefix(base)
    keys, values = (tuple(6000 * tensor for tensor in part) for part in (random.keys, random.values))
    overflowing = replace(random, keys=keys, values=values)  # finite itself, but not what it leads to
    verdict = judge(base, split, TrainingResult(overflowing, 1, 1, 1.0, 1.0, seconds=1.0, history=()))
    assert math.isnan(verdict.figures["voice_bits_per_char"])
    assert not verdict.publish
    assert "could not be measured" in str(verdict.reason)
    assert verdict.figures["reason"] == verdict.reason


def test_a_voice_is_not_published_beside_a_rival_that_could_not_be_measured(
    base: BaseModel, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = result_of(base, split)
    for unmeasured in (math.nan, math.inf):
        monkeypatch.setattr(evaluation, "bits_per_char", lambda _, prefix, __, loss=unmeasured: 1.0 if prefix else loss)
        verdict = judge(base, split, result)
        assert not verdict.publish
        assert "could not be measured" in str(verdict.reason)


def test_a_voice_must_beat_the_shared_starting_point_too(base: BaseModel, split: Split) -> None:
    result = result_of(base, split)
    better = judge(base, split, result, make_prefix(base))
    assert better.publish
    assert better.figures["population_bits_per_char"] > better.figures["voice_bits_per_char"]
    published = Prefix.from_bytes(better.data, base.fingerprint, dtype=base.dtype)
    same = judge(base, split, result, published)
    assert not same.publish
    assert "shared starting point" in str(same.reason)


def test_a_voice_must_beat_the_version_that_it_went_on_from(base: BaseModel, split: Split) -> None:
    result = result_of(base, split)
    better = judge(base, split, result, make_prefix(base), make_prefix(base, seed=1))
    assert better.publish
    assert better.figures["current_bits_per_char"] > better.figures["voice_bits_per_char"]
    published = Prefix.from_bytes(better.data, base.fingerprint, dtype=base.dtype)
    same = judge(base, split, result, make_prefix(base), published)
    assert not same.publish
    assert "version in use" in str(same.reason)


def test_every_authors_text_is_scored_behind_every_prefix(base: BaseModel, split: Split) -> None:
    prefixes = [make_prefix(base, seed=seed) for seed in range(3)]
    authors = [split.test, split.stop]
    matrix = cross_user_losses(base, prefixes, authors)
    assert matrix == [[bits_per_char(base, prefix, blocks) for prefix in prefixes] for blocks in authors]
    assert len({loss for row in matrix for loss in row}) == 6


def test_rank_one_is_the_share_whose_own_prefix_is_the_best_alone() -> None:
    assert rank1([[1.0, 2.0, 3.0], [1.0, 0.5, 3.0], [1.0, 2.0, 0.9]]) == 1.0
    assert rank1([[1.0, 2.0, 3.0], [1.0, 1.0, 3.0], [0.5, 2.0, 0.9], [4.0, 3.0, 2.0, 1.0]]) == 0.5
    assert rank1([[1.0]]) == 1.0
