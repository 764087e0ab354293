"""How the API's parts are put together: the engine by its settings."""

import pytest

from app.api import factory
from app.api.factory import create_app
from app.api.services import EXTENSION
from app.config import AppConfig
from storage.store import Storage
from tests.tiny_model import make_tiny
from tuning.base_model import BaseModel


def test_the_batch_is_as_large_as_the_memory_for_it_allows(api_storage: Storage, base: BaseModel) -> None:
    app = create_app(AppConfig(kv_cache_mb=1), api_storage, base)
    engine = app.extensions[EXTENSION].engine
    figures = engine.figures()
    engine.close()
    assert 1 < figures.max_num_seqs < AppConfig().max_num_seqs
    assert figures.kv_cache_bytes <= 1 << 20


def test_a_model_that_cannot_be_served_is_refused_at_the_start_in_one_line(
    api_storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    unfit = make_tiny()
    unfit.model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(SystemExit) as refused:
        create_app(AppConfig(), api_storage, unfit)
    assert refused.value.code == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert "IDIOLECT_BASE_MODEL can't be served" in line


def test_memory_for_not_even_one_answer_is_refused_at_the_start(
    api_storage: Storage, base: BaseModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(factory, "MIB", 1 << 10)  # a tiny model's row is much less than a MiB
    with pytest.raises(SystemExit):
        create_app(AppConfig(kv_cache_mb=1), api_storage, base)
    assert "IDIOLECT_KV_CACHE_MB must be at least 129" in capsys.readouterr().err
