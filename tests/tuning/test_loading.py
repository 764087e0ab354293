from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.tiny_model import save_tiny
from tuning import loading
from tuning.config import TuningConfig
from tuning.loading import load_to_answer, to_answer
from tuning.precision import multiplies_bfloat16


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_answers_are_computed_in_bfloat16_where_the_type_is_open_and_the_processor_fits() -> None:
    fits = multiplies_bfloat16()
    assert to_answer(TuningConfig(device="cpu")).dtype == ("bfloat16" if fits else "auto")
    assert to_answer(TuningConfig(device="cpu", dtype="float32")).dtype == "float32"
    assert to_answer(TuningConfig(device="cuda")).dtype == "auto"


@pytest.mark.parametrize(("asked", "largest_small", "threads"), [(0, 1e9, 1), (0, 1, 2), (2, 1e9, 2)])
def test_a_small_model_answers_with_one_thread_where_the_number_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int, largest_small: float, threads: int
) -> None:
    monkeypatch.setattr(loading, "ONE_THREAD_PARAMETERS", largest_small)
    folder = save_tiny("llama", tmp_path)
    base = load_to_answer(TuningConfig(base_model=str(folder), num_threads=asked, num_virtual_tokens=4, device="cpu"))
    assert torch.get_num_threads() == threads
    assert base.dtype == (torch.bfloat16 if multiplies_bfloat16() else torch.float32)
