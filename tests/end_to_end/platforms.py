"""The whole platform for browser tests: every role, queue and cache as `make run` starts them, with a tiny model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded.config import EmbeddedConfig
from app.embedded.supervisor import Supervisor
from tests.tiny_model import save_tiny

TRAINING_MS = 120_000


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[str]:
    """Its address, on free ports."""
    model = save_tiny("llama", tmp_path / "tiny")
    settings = {"IDIOLECT_BASE_MODEL": str(model), "IDIOLECT_MAX_STEPS": "60", "IDIOLECT_NUM_THREADS": "1"}
    environment = EmbeddedConfig.from_env().environment
    config = EmbeddedConfig(data_dir=tmp_path / "data", port=0, environment={**environment, **settings})
    with Supervisor(config, print) as running:
        running.start()
        yield running.url
