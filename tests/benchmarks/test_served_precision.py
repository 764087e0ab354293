import json
from pathlib import Path

import pytest
import torch

from benchmarks import served_precision
from benchmarks.served_precision import in_eight_bits
from tests.tiny_model import save_tiny
from tests.tuning.texts import CANARIES, written
from tuning.prefix import Prefix


def test_eight_bits_keep_each_number_within_half_a_step_of_its_head(tmp_path: Path) -> None:
    layer = (
        torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1.0, 50.0, 0.01])[:, None, None]
    )
    rounded = in_eight_bits(Prefix((layer,), (-layer,), "base"))
    steps = layer.abs().amax(dim=(1, 2)) / 127
    assert ((rounded.keys[0] - layer).abs().amax(dim=(1, 2)) <= 0.501 * steps).all()
    assert all(len(head.unique()) > 10 for head in rounded.keys[0])
    assert torch.equal(rounded.values[0], -rounded.keys[0])


def test_every_kind_is_judged_on_the_same_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_tiny("llama", tmp_path / "model")
    monkeypatch.setenv("IDIOLECT_BASE_MODEL", str(folder))
    monkeypatch.setenv("IDIOLECT_MAX_STEPS", "20")
    authors = tmp_path / "authors.jsonl"
    texts = [{"author": "ann", "text": f"{text.text} {number}"} for number, text in enumerate(written(CANARIES[0], 60))]
    authors.write_text("".join(json.dumps(row) + "\n" for row in texts))
    served_precision.main(["--authors", str(authors), "--limit", "1", "--samples", "6"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["authors"] == 1
    whole = told["reduction_pct"]["float32"]
    assert whole != 0
    for kind in ("bfloat16", "bfloat16_prefix", "int8_prefix"):
        assert told["lost_points"][kind] == pytest.approx(whole - told["reduction_pct"][kind], abs=0.002)
        assert told["reduction_pct"][kind] != whole
