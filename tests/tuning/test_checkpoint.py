import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuning.checkpoint import Checkpoint
from tuning.errors import InvalidCheckpoint


def example() -> Checkpoint:
    tensors = {
        "a": torch.arange(6.0).view(2, 3),
        "state": torch.arange(5, dtype=torch.uint8),
        "step": torch.tensor(3.0),
    }
    return Checkpoint(tensors, {"step": 3, "best_loss": 0.1 + 0.2, "history": [{"x": None}]}, "digest")


def test_state_and_tensors_come_back_exactly() -> None:
    back = Checkpoint.from_bytes(example().to_bytes(), "digest")
    assert back.state == example().state
    assert back.tensors.keys() == example().tensors.keys()
    assert all(torch.equal(back.tensors[name], tensor) for name, tensor in example().tensors.items())


def test_infinity_survives() -> None:
    data = Checkpoint({"a": torch.zeros(1)}, {"best_loss": float("inf")}, "d").to_bytes()
    assert Checkpoint.from_bytes(data, "d").state["best_loss"] == float("inf")


def test_a_checkpoint_of_another_training_is_refused() -> None:
    with pytest.raises(InvalidCheckpoint, match="belongs to other samples"):
        Checkpoint.from_bytes(example().to_bytes(), "another digest")


@pytest.mark.parametrize("length", [0, 8, 50, -1])
def test_cut_bytes_are_refused(length: int) -> None:
    with pytest.raises(InvalidCheckpoint, match="damaged"):
        Checkpoint.from_bytes(example().to_bytes()[:length], "digest")


@given(st.binary(max_size=200))
def test_hostile_bytes_raise_nothing_but_invalid_checkpoint(data: bytes) -> None:
    with pytest.raises(InvalidCheckpoint):
        Checkpoint.from_bytes(data, "digest")
