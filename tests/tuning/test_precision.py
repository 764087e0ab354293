import torch

from tests.tiny_model import make_tiny
from tests.tuning.texts import CANARIES, written
from tuning.dataset import build_split
from tuning.evaluation import bits_per_char
from tuning.precision import fast_arithmetic, multiplies_bfloat16
from tuning.trainer import TrainingJob, TrainingSettings, train_prefixes


def test_only_float32_weights_on_a_fitting_processor_use_it() -> None:
    for dtype in (torch.float64, torch.float32):
        with fast_arithmetic(make_tiny("llama", dtype)):
            assert torch.is_autocast_enabled("cpu") is (dtype == torch.float32 and multiplies_bfloat16())
    assert not torch.is_autocast_enabled("cpu")


def test_looks_at_held_out_text_are_computed_in_the_weights_own_type() -> None:
    base = make_tiny("llama", torch.float32)
    split = build_split(base, written(CANARIES[0]), num_virtual_tokens=4)
    settings = TrainingSettings(
        num_virtual_tokens=4, hidden=16, learning_rate=0.05, tokens_per_step=200, max_steps=4, evaluate_every=2
    )
    (result,) = train_prefixes(base, [TrainingJob(split)], settings)
    assert result is not None
    assert result.best_held_out_loss == bits_per_char(base, result.prefix, split.stop)
    assert result.best_held_out_loss < result.base_held_out_loss
