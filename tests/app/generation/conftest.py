"""Tiny real models in float64, so that no tie decides a test, and engines that are closed whatever happens."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.generation.engine import Engine
from tests.tiny_model import FAMILIES, make_tiny
from tuning.base_model import BaseModel


@pytest.fixture(scope="session")
def bases() -> dict[str, BaseModel]:
    """One tiny model of each family."""
    return {family: make_tiny(family) for family in FAMILIES}


@pytest.fixture(scope="session")
def base(bases: dict[str, BaseModel]) -> BaseModel:
    """The tiny model where any family will do."""
    return bases["llama"]


@pytest.fixture
def make_engine(base: BaseModel) -> Iterator[Callable[..., Engine]]:
    """Builds engines (not started) of a few rows and closes them at the end."""
    engines: list[Engine] = []

    def make(model: BaseModel = base, **options: Any) -> Engine:
        engines.append(Engine(model, **({"max_num_seqs": 4, "max_waiting": 16} | options)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def engine(make_engine: Callable[..., Engine]) -> Engine:
    """A running engine of four rows."""
    engine = make_engine()
    engine.start()
    return engine
