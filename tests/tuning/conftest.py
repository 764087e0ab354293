from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from storage.store import Storage
from tests.tiny_model import save_tiny
from tests.tuning.runs import QUICK
from tuning.config import TuningConfig
from tuning.workbench import Bench


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """The tiny models are slower on several threads, many times slower where the processors are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("model"))


@pytest.fixture
def bench(storage: Storage, model_folder: Path) -> Bench:
    config = TuningConfig(base_model=str(model_folder), base_model_name="tiny", num_threads=1, lease_s=1.2)
    return Bench(storage, config, QUICK, worker="here:1", is_stopping=lambda: False)
